"""The pages of docs/commands, a page a command, from what `--help` says: `make docs`."""

import sys
from pathlib import Path

import click

from repro.cli import COMMANDS, repro

WIDTH = 100
BEGIN = """# The commands

Generated from `--help` by `make docs`.

Tab completes commands, options, names of runs and keys of configs. In bash, for zsh and fish likewise:

```sh
eval "$(_REPRO_COMPLETE=bash_source repro)"    # in ~/.bashrc
```

"""


def pages() -> dict[str, str]:
    """File name -> its text."""
    texts = {"README.md": BEGIN + "".join(f"- [`repro {n}`]({n}.md): {text}\n" for n, text in COMMANDS.items())}
    with click.Context(repro, info_name="repro") as ctx:
        for name in COMMANDS:
            command = repro.get_command(ctx, name)
            assert command is not None
            texts[f"{name}.md"] = f"# repro {name}\n\n{COMMANDS[name]}\n" + "".join(_helps(command, name, ctx))
    return texts


def _helps(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """The help of a command and of those below it."""
    with click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH) as ctx:
        helps = [f"\n```\n{command.get_help(ctx)}\n```\n"]
        if isinstance(command, click.Group):
            helps += [text for below, inner in command.commands.items() for text in _helps(inner, below, ctx)]
    return helps


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.md"):
        page.unlink()
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

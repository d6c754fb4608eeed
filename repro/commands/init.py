"""`repro init`: a first config for a stage of a project."""

from pathlib import Path
from typing import Any

import click

IGNORED = ("/runs/", "/.repro/")  # what `repro run` and an embedded queue leave in a project


@click.command(epilog="Example: repro init train.py:main")
@click.argument("stage")
@click.option("--name", help="The name of the config, instead of the file's.")
def init(stage: str, name: str | None) -> None:
    """Write a first config for a stage: a function (train.py:main) or a script that takes flags (train.py).

    It has every key that the source shows a default of, and stands in configs/. Nothing that is there is changed, but
    for lines that are added to .gitignore.
    """
    from repro.stages import config as configs
    from repro.stages import files
    from repro.stages.source import registry

    named = _stage(stage)
    defaults, needed = registry.first_keys(named)
    config: dict[str, Any] = {"stage": named} | dict.fromkeys(needed, "") | defaults
    base = configs.check_name(name or Path(stage.partition(":")[0]).stem, "--name")
    path = Path("configs") / f"{base}.json"
    if path.exists():
        raise click.UsageError(f"{path} is there already; take another --name")
    path.parent.mkdir(exist_ok=True)
    files.create(path, configs.pretty(config))
    path.chmod(0o644)
    added = _ignore()
    click.echo(f"{path}: {len(config) - 1} keys" + (f"; .gitignore: {', '.join(added)}" if added else ""))
    if needed:
        click.echo(f"it has no default of: {', '.join(needed)}; give them values before you go on")
    click.echo(f"\nnext:\n  repro run {path} --name try     # here, without a queue")
    click.echo(f"  repro submit {path}             # into the queue, with your code as it is")
    click.echo("  repro worker --burst                   # compute what waits, and leave")


def _stage(text: str) -> str:
    """As a config names it: `script:train.py`, or `module:function` for a file and its function."""
    place, _, function = text.partition(":")
    if not place.endswith(".py") or place == "script":
        return text
    if not function:
        return f"script:{place}"
    return f"{'.'.join(Path(place).with_suffix('').parts)}:{function}"


def _ignore() -> list[str]:
    """Add what is no source to the .gitignore of a git tree; returns what was added."""
    if not Path(".git").exists():
        return []
    path = Path(".gitignore")
    lines = path.read_text().splitlines() if path.exists() else []
    added = [line for line in IGNORED if line not in lines and line.strip("/") not in {one.strip("/") for one in lines}]
    if added:
        path.write_text("\n".join([*lines, *added]) + "\n")
    return added

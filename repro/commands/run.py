"""`repro run`: one config without any queue."""

from pathlib import Path

import click


@click.command(epilog="Example: repro run configs/model.json --conf '{\"lr\": 1e-3}'")
@click.argument("file", metavar="CONFIG.json", type=click.Path(path_type=Path))
@click.option("--conf", metavar="JSON", help="Merge this JSON object over the config before anything else.")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set one key in the same way; may be given again."
)
@click.option("--name", help="The name of the folder, instead of the file's name.")
@click.option("--root", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, metavar="DIR",
              help="The folder in which the runs' folders are, those of the sources included.")  # fmt: skip
@click.option("--allow-unknown", metavar="KEY", multiple=True,
              help="Accept this key though no code of the stage reads it; may be given again.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on where a killed run of this config stopped.")
@click.option(
    "--hermetic", is_flag=True, help="Fail if the stage reads what is not declared. Without this it is only recorded."
)
def run(
    file: Path,
    conf: str | None,
    settings: tuple[str, ...],
    name: str | None,
    root: Path,
    allow_unknown: tuple[str, ...],
    resume: bool,
    hermetic: bool,
) -> int:
    """Run one config without a queue, whatever its stage, in the folder runs/NAME. It gives the same bytes as the
    queue.

    Its sources are folders of the same root, so run their configs first. A folder that holds a config already is left
    as it is.
    """
    from repro.stages.running.standalone import Options, start
    from repro.stages.running.terminal_report import exit_code

    options = Options(conf, settings, name, root, allow_unknown, resume, hermetic)
    return exit_code(lambda: start(file, options))

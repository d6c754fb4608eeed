"""`repro golden`: configs kept in a repository with what they gave, and CI's check that they still give it."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from repro.commands.shared.option_types import LEVELS

if TYPE_CHECKING:
    from repro.worker.audit.golden_configs import Checked

FOLDER = click.option("--folder", type=click.Path(path_type=Path), default=Path("tests/golden"), show_default=True,
                      help="The folder with golden configs and their results.")  # fmt: skip


@click.group(epilog="Example: repro golden add configs/model.json && repro golden check")
def golden() -> None:
    """Keep small configs with the hashes and values that they gave; CI runs them again on today's code."""


@golden.command(epilog="Example: repro golden add configs/model.json")
@click.argument("files", metavar="CONFIG.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@FOLDER
def add(files: tuple[Path, ...], folder: Path) -> None:
    """Run configs and their sources here, without a queue, and keep what they give. Commit the folder afterwards."""
    from repro.worker.audit import golden_configs as kept

    _use_data_of(folder)
    names = kept.take(folder, files)
    kept.be_where_they_run(folder, names)
    with TemporaryDirectory() as root:
        added = kept.add(folder, names, Path(root))
    for name in added:
        click.echo(f"{name}: kept in {folder / kept.RESULTS / name}")
    if not added:
        click.echo("nothing new: all of them are kept already")


@golden.command(epilog="Example: repro golden check")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@FOLDER
@click.option("--level", type=click.Choice(LEVELS), help="Exit with 1 if a result is worse than this. "
              "The default is identical, or close if the hardware is not the same.")  # fmt: skip
def check(names: tuple[str, ...], folder: Path, level: str | None) -> int:
    """Run golden configs again on today's code, without a queue, and compare the results. Exit with 1 if one is worse
    than --level."""
    from repro.worker.audit import golden_configs as kept
    from repro.worker.audit.result_comparison import Tolerance

    _use_data_of(folder)
    wanted = kept.kept_there(folder, names)
    kept.be_where_they_run(folder, wanted)
    bad = 0
    with TemporaryDirectory() as root:
        for checked in kept.check(folder, wanted, Path(root), Tolerance()):
            bad += kept.is_worse(checked, level)
            for line in _lines(checked):
                click.echo(line)
    return int(bad > 0)


def _lines(checked: "Checked") -> list[str]:
    place = "" if checked.same_hardware else " on other hardware"
    lines = [f"{checked.name}: {checked.level}{place}" + (f": {checked.error}" if checked.error else "")]
    lines += [f"  {finding}" for finding in checked.findings if finding.level]
    return lines + [f"  {path}: other bytes, and only the recorded hardware could compare" for path in checked.unknown]


def _use_data_of(folder: Path) -> None:
    """Relative masks mean the data that lie with the golden configs, if any do."""
    if (folder / "data").is_dir():
        os.environ["REPRO_DATA"] = str((folder / "data").resolve())

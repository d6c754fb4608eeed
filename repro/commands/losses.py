"""`repro losses`: the curves of several runs in one plot."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import Number

if TYPE_CHECKING:
    from collections.abc import Callable

    from repro.readers.curve_reader import CurveSet

REFRESH = 2.0  # seconds: as often as workers tell


@click.command(epilog="Example: repro losses modela modelb --log --smooth 0.6 -o losses.png")
@click.argument("names", metavar="NAME|FOLDER...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw into this new file, a .png, .svg or .pdf.")
@click.option("--figure", "figures", metavar="NAME", multiple=True, help="Draw this figure instead of the losses; "
              "may be given again.")  # fmt: skip
@click.option("--log", is_flag=True, help="Use a logarithmic y axis.")
@click.option(
    "--smooth",
    type=Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    metavar="WEIGHT",
    help="Draw a moving average; the nearer the weight is to 1, the smoother the curve.",
)
@click.option("--watch", is_flag=True, help="Draw again and again until all runs have ended.")
@click.option("--csv", "form", flag_value="csv", help="Print the points as CSV, which is the default in a pipe.")
@click.option("--json", "form", flag_value="json", help="Print the points as JSON.")
def losses(
    names: tuple[str, ...],
    output: Path | None,
    figures: tuple[str, ...],
    log: bool,
    smooth: float,
    watch: bool,
    form: str | None,
) -> None:
    """Draw the training and validation losses of runs into one plot, in a file or on the terminal.

    A NAME is a run of the queue, a pattern such as 'model*', or a config file. A FOLDER is the folder of a run. Of runs
    that are running, the points so far are drawn. The legend says in which parameters the runs differ.
    """
    from repro.readers.curve_reader import Finder
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.settings import Settings
    from repro.views import curve_plot, figure_file
    from repro.worker.store.store import Store

    if output:
        figure_file.check_name(output)
    settings = Settings.read()
    finder = Finder(Reader(connect), lambda: Store.open(settings.store, settings.home))

    def find() -> "CurveSet":
        return _smoothed(finder.find(names, figures), smooth)

    curve_set = find()
    for line in curve_set.missing:
        click.echo(f"warning: {line}", err=True)
    if output:
        curve_plot.save(curve_set, output, log)
        click.echo(str(output))
    elif form or not sys.stdout.isatty():
        _print(curve_set, form == "json")
    else:
        _show(curve_set, log, find if watch else None)


def _smoothed(curve_set: "CurveSet", weight: float) -> "CurveSet":
    from dataclasses import replace

    from repro.scheduler.live.curves import smooth

    return replace(curve_set, curves=[smooth(curve, weight) for curve in curve_set.curves])


def _print(curve_set: "CurveSet", as_json: bool) -> None:
    """Every point: a line each, or a list a curve."""
    from repro.scheduler.configs.spelling import to_csv
    from repro.views.tables import dump

    if as_json:
        dump([vars(c) | {"label": curve_set.labels[c.run]} for c in curve_set.curves])
        return
    rows = [
        (c.run, c.figure, c.unit, repr(x), repr(y)) for c in curve_set.curves for x, y in zip(c.x, c.y, strict=True)
    ]
    click.echo(to_csv([("name", "figure", "unit", "at", "value"), *rows]), nl=False)


def _show(curve_set: "CurveSet", log: bool, again: "Callable[[], CurveSet] | None") -> None:
    from rich.console import Console
    from rich.live import Live

    from repro.views.curve_screen import screen

    console = Console(highlight=False)
    if again is None:
        console.print(screen(curve_set, log, console.width), soft_wrap=True)
        return
    import time

    with Live(screen(curve_set, log, console.width), console=console, auto_refresh=False) as live:
        while curve_set.live:
            time.sleep(REFRESH)
            curve_set = again()
            live.update(screen(curve_set, log, console.width), refresh=True)

"""Curves of runs on a terminal, drawn with characters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from repro.readers.curve_reader import CurveSet
from repro.stages.errors import ReproError
from repro.views.curve_plot import colours

if TYPE_CHECKING:
    from rich.text import Text

HEIGHT = 24


def screen(curve_set: CurveSet, log: bool, width: int) -> "Text":
    from rich.text import Text

    drawn = Text.from_ansi(_drawn(curve_set, log, width, HEIGHT - 4))
    lines = [drawn, *(Text.assemble(("━━ ", colour), label) for label, colour in _legend(curve_set))]
    if any(curve.of_validation for curve in curve_set.curves):
        lines.append(Text("lines: training   points: validation", "bright_black"))
    return Text("\n").join(lines)


def _drawn(curve_set: CurveSet, log: bool, width: int, height: int) -> str:
    """Draw as characters: training as lines, validation as points; with colours by ANSI codes."""
    try:
        import plotext
    except ImportError as error:
        raise ReproError('a plot on a terminal needs plotext: pip install "repro-queue[tools]", or -o FILE') from error
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    shades = dict(zip(curve_set.labels, colours(len(curve_set.labels)), strict=True))
    for curve in (curve.finite for curve in curve_set.curves):
        symbol = "•" if curve.of_validation else "braille"
        signal = figure.signal(list(curve.x), list(curve.y), marker=plotext.marker(symbol, _rgb(shades[curve.run])))
        figure.draw(signal.lines(not curve.of_validation))
    if log:
        figure.ruler("y").scale("log")
    figure.label(" or ".join(dict.fromkeys(curve.unit for curve in curve_set.curves)))
    return str(figure.build())


def _legend(curve_set: CurveSet) -> "list[tuple[str, str]]":
    """(label, colour) of every run, as `_drawn` draws them."""
    return list(zip(curve_set.labels.values(), _bright(colours(len(curve_set.labels))), strict=True))


def _bright(shades: Sequence[str]) -> list[str]:
    return ["#AAAAAA" if shade == "#000000" else shade for shade in shades]


def _rgb(shade: str) -> tuple[int, int, int]:
    (bright,) = _bright([shade])
    return int(bright[1:3], 16), int(bright[3:5], 16), int(bright[5:7], 16)

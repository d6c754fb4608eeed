"""Curves of runs as a picture in a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from repro.readers.curve_reader import CurveSet
from repro.views import figure_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito: eight colours that the colour-blind tell apart, too; their yellow is too pale for a line.
FEW = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BESIDE = 12  # entries up to which a legend stands in the plot


def colours(count: int) -> list[str]:
    """So many colours; beyond a handful, evenly along a map whose ends differ."""
    if count <= len(FEW):
        return list(FEW[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["turbo"](0.05 + 0.9 * i / (count - 1))) for i in range(count)]


def save(curve_set: CurveSet, path: Path, log: bool) -> None:
    """Draw into a new file; training solid, validation dashed."""
    figure_file.save(lambda figure: _draw(figure, curve_set, log), path, (10, 6))


def _draw(figure: "Figure", curve_set: CurveSet, log: bool) -> None:
    units = " or ".join(dict.fromkeys(curve.unit for curve in curve_set.curves))
    figures = ", ".join(dict.fromkeys(curve.figure for curve in curve_set.curves))
    axes = figure.add_subplot(xlabel=units, ylabel=figures)
    shades = dict(zip(curve_set.labels, colours(len(curve_set.labels)), strict=True))
    labelled = set[str]()
    for curve in (curve.finite for curve in curve_set.curves):
        label = None if curve.run in labelled else curve_set.labels[curve.run]
        labelled.add(curve.run)
        marker = "o" if len(curve.x) == 1 else None
        style = "--" if curve.of_validation else "-"
        axes.plot(curve.x, curve.y, style, color=shades[curve.run], label=label, marker=marker, linewidth=1.5)
    if any(curve.of_validation for curve in curve_set.curves):
        axes.plot([], [], "k-", label="training")
        axes.plot([], [], "k--", label="validation")
    if log:
        _log_scale(axes)
    if units == "epoch":
        axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3, which="both")
    if len(curve_set.labels) > BESIDE:
        axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    else:
        axes.legend(fontsize=8)


def _log_scale(axes: "Axes") -> None:
    """With plain numbers at its ticks: names must not be read as formulas, and so formulas are switched off."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))

"""Curves as a picture in a file, and as characters on a terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repro.readers.curve_reader import Found
from repro.stages.errors import ReproError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito: eight colours that the colour-blind tell apart, too; their yellow is too pale for a line.
FEW = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FORMATS = ("png", "svg", "pdf")
BESIDE = 12  # entries up to which a legend stands in the plot


def colours(count: int) -> list[str]:
    """So many colours; beyond a handful, evenly along a map whose ends differ."""
    if count <= len(FEW):
        return list(FEW[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["turbo"](0.05 + 0.9 * i / (count - 1))) for i in range(count)]


def check_name(path: Path) -> str:
    """The format that a file's name asks for."""
    if (form := path.suffix.removeprefix(".").lower()) not in FORMATS:
        raise ReproError(f"{path}: what to draw is told by its end: .{', .'.join(FORMATS)}")
    return form


def save(found: Found, path: Path, log: bool) -> None:
    """Draw into a new file; training solid, validation dashed."""
    save_figure(lambda figure: _draw(figure, found, log), path, (10, 6))


def _draw(figure: "Figure", found: Found, log: bool) -> None:
    units = " or ".join(dict.fromkeys(curve.unit for curve in found.curves))
    figures = ", ".join(dict.fromkeys(curve.figure for curve in found.curves))
    axes = figure.add_subplot(xlabel=units, ylabel=figures)
    shades = dict(zip(found.labels, colours(len(found.labels)), strict=True))
    told = set[str]()
    for curve in found.curves:
        label = None if curve.run in told else found.labels[curve.run]
        told.add(curve.run)
        marker = "o" if len(curve.x) == 1 else None
        style = "--" if curve.of_validation else "-"
        axes.plot(curve.x, curve.y, style, color=shades[curve.run], label=label, marker=marker, linewidth=1.5)
    if any(curve.of_validation for curve in found.curves):
        axes.plot([], [], "k-", label="training")
        axes.plot([], [], "k--", label="validation")
    if log:
        _log_scale(axes)
    if units == "epoch":
        axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3, which="both")
    if len(found.labels) > BESIDE:
        axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    else:
        axes.legend(fontsize=8)


def _log_scale(axes: "Axes") -> None:
    """With plain numbers at its ticks: names must not be read as formulas, and so formulas are switched off."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def text(found: Found, log: bool, width: int, height: int) -> str:
    """Draw as characters: training as lines, validation as points; with colours by ANSI codes."""
    try:
        import plotext
    except ImportError as error:
        raise ReproError('a plot on a terminal needs plotext: pip install "repro-queue[tools]", or -o FILE') from error
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    shades = dict(zip(found.labels, colours(len(found.labels)), strict=True))
    for curve in found.curves:
        symbol = "•" if curve.of_validation else "braille"
        signal = figure.signal(list(curve.x), list(curve.y), marker=plotext.marker(symbol, _rgb(shades[curve.run])))
        figure.draw(signal.lines(not curve.of_validation))
    if log:
        figure.ruler("y").scale("log")
    figure.label(" or ".join(dict.fromkeys(curve.unit for curve in found.curves)))
    return str(figure.build())


def legend(found: Found) -> "list[tuple[str, str]]":
    """(label, colour) of every run, as `text` draws them."""
    return list(zip(found.labels.values(), _bright(colours(len(found.labels))), strict=True))


def _bright(shades: Sequence[str]) -> list[str]:
    return ["#AAAAAA" if shade == "#000000" else shade for shade in shades]


def _rgb(shade: str) -> tuple[int, int, int]:
    (bright,) = _bright([shade])
    return int(bright[1:3], 16), int(bright[3:5], 16), int(bright[5:7], 16)


def save_figure(draw: "Callable[[Figure], None]", path: Path, size: tuple[float, float]) -> None:
    """A figure by matplotlib, as a new file.

    Raises:
        ReproError: the file is there already, or can't be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    form = check_name(path)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        draw(figure)
        try:
            with path.open("xb") as file:
                figure.savefig(file, format=form)
        except FileExistsError as error:
            raise ReproError(f"{path}: is there already; nothing was drawn") from error
        except OSError as error:
            raise ReproError(f"{path}: can't be written: {error.strerror}") from error

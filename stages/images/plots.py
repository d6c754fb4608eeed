"""Plots that depend on their data alone: no matplotlibrc, no display, no library version in the file."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from repro.stages.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READABLE = 20  # classes up to which a count fits into its cell


def losses(run: Run, name: str, curves: Mapping[str, Sequence[float]]) -> None:
    """Create a PNG of some curves over epochs 1, 2, ...; the legend names them."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
        for label, values in curves.items():
            axes.plot(range(1, len(values) + 1), values, marker=".", label=label)
        axes.locator_params(axis="x", integer=True)
        axes.legend()
        axes.grid(alpha=0.3)

    _save(run, name, draw)


def confusion(run: Run, name: str, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Create a PNG of a confusion matrix (true class, predicted class), coloured by its share of the row."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot(xlabel="predicted", ylabel="true")
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(counts) if len(classes) <= READABLE else ():
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)

    _save(run, name, draw)


def _save(run: Run, name: str, draw: Callable[["Figure"], None]) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), run.open(name, "xb") as file:
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False  # a class may be called "$"
        figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="tight")
        draw(figure)
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]

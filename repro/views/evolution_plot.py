"""Generations of bred runs as a picture."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Generation = list[tuple[str, float]]  # name and figure of the runs that ended well, the best first


def draw(figure: "Figure", history: list[Generation], metric: str) -> None:
    """Every run as a point, the best of each generation joined."""
    axes = figure.add_subplot(xlabel="generation", ylabel=metric)
    for number, generation in enumerate(history, 1):
        axes.plot([number] * len(generation), [figure for _, figure in generation], "o", color="#56B4E9", alpha=0.7)
    best = [(number, generation[0]) for number, generation in enumerate(history, 1) if generation]
    axes.plot([n for n, _ in best], [value for _, (_, value) in best], "-", color="#D55E00", label="best")
    for number, (name, value) in best:
        axes.annotate(name, (number, value), (4, 4), textcoords="offset points", fontsize=8)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)

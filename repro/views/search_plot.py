"""A search as one picture: its history, each parameter against the figure, and how much each matters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.scheduler.configs.spelling import spell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3  # drawings side by side
ORDERS = 30.0  # from so many times the least value on, an axis is logarithmic
POINT, BEST = "#56B4E9", "#D55E00"


def size(view: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height, inches."""
    return 4.2 * ACROSS, 3.2 * _down(view)


def draw(figure: "Figure", view: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """`view` and `history` are those of `pages.searches`."""
    places = iter(range(1, ACROSS * _down(view) + 1))
    _history(figure.add_subplot(_down(view), ACROSS, next(places)), view, history)
    for key in view["keys"]:
        _slice(figure.add_subplot(_down(view), ACROSS, next(places)), key, history)
    if view["importance"]:
        _importance(figure.add_subplot(_down(view), ACROSS, next(places)), view["importance"])
    pale = ", pale: ended on a rung" if any(run["rung"] is not None for run in history) else ""
    figure.suptitle(f"{view['name']}: {len(history)} trials, the source among them{pale}; bright: later", fontsize=11)


def _down(view: Mapping[str, Any]) -> int:
    return -(-(len(view["keys"]) + 2) // ACROSS)


def _history(axes: "Axes", view: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    for is_whole in (False, True):
        some = [run for run in history if (run["rung"] is None) == is_whole]
        at = [run["trial"] for run in some]
        axes.plot(at, [run["figure"] for run in some], "o", color=POINT, markersize=4, alpha=1.0 if is_whole else 0.35)
    known = [run for run in history if run["best"] is not None]
    axes.step([run["trial"] for run in known], [run["best"] for run in known], where="post", color=BEST)
    axes.set(xlabel="trial", ylabel=view["metric"])
    axes.grid(alpha=0.3)


def _slice(axes: "Axes", key: str, history: Sequence[Mapping[str, Any]]) -> None:
    known = [run for run in history if run["values"].get(key) is not None]
    values = [run["values"][key] for run in known]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        if values and min(values) > 0 and max(values) > ORDERS * min(values):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.locator_params(axis="x", nbins=5)
        at = values
    else:
        names = sorted({spell(value) for value in values})
        at = [names.index(spell(value)) for value in values]
        axes.set_xticks(range(len(names)), names)
    axes.scatter(at, [run["figure"] for run in known], c=[run["trial"] for run in known], s=16, cmap="viridis")
    axes.set(xlabel=key)
    axes.grid(alpha=0.3)


def _importance(axes: "Axes", shares: Mapping[str, float]) -> None:
    order = sorted(shares, key=lambda key: shares[key])
    axes.barh(order, [shares[key] for key in order], color=POINT)
    axes.set(xlabel="share in what makes the best (PED-ANOVA)", xlim=(0, 1))

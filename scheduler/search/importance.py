"""How much each parameter of a search matters: PED-ANOVA (Watanabe, Bansal, Hutter 2023, PED-ANOVA: Efficiently
Quantifying Hyperparameter Importance in Arbitrary Subspaces).

Where the best trials lie along an axis as all others do, it does not matter; the further apart the two densities are,
the more. Taken is the Pearson divergence of the best trials' density from that of all, each axis by itself.
"""

from collections.abc import Sequence
from math import ceil, fsum

from repro.scheduler.search.parzen import Parzen
from repro.scheduler.search.space import Axis, Point, Space

ENOUGH = 10  # trials from which on it says something
BEST = 0.1  # of all: how many are the best, as the sampler has it
FEWEST_BEST = 3
PLACES = 64  # along an axis of values that lie densely


def importance(space: Space, ranked: Sequence[Point]) -> dict[str, float]:
    """The share of each parameter in what makes the best trials the best; of all together 1. Empty where too few are
    known, or where nothing tells them apart.

    Args:
        ranked: where the trials lie that have a result, the best first.
    """
    if len(ranked) < ENOUGH:
        return {}
    best = ranked[: max(FEWEST_BEST, ceil(BEST * len(ranked)))]
    found = {axis.key: _divergence(axis, number, best, ranked) for number, axis in enumerate(space.axes)}
    total = fsum(found.values())
    return {key: value / total for key, value in found.items()} if total > 0 else {}


def _divergence(axis: Axis, number: int, best: Sequence[Point], ranked: Sequence[Point]) -> float:
    alone = Space((axis,))
    top, everything = (Parzen(alone, [(point[number],) for point in points]) for points in (best, ranked))
    parts = []
    for place in _places(axis):
        usual = everything.density((place,))
        more = top.density((place,)) / usual - 1
        parts.append(more * more * usual)
    return fsum(parts) / len(parts)


def _places(axis: Axis) -> list[float]:
    count = PLACES if axis.size is None else min(axis.size, PLACES)
    found = [axis.place(axis.at((number + 0.5) / count)) for number in range(count)]
    return [place for place in found if place is not None]

"""Parzen estimators: how densely points lie, as a mixture of product kernels and an even prior.

Densities are those of the space with all ways from 0 to 1, so an even one is 1 everywhere.

After Bergstra et al. 2011 (Algorithms for Hyper-Parameter Optimization) and Watanabe 2023 (Tree-Structured Parzen
Estimator: Understanding Its Algorithm Components). One thing is our own: the kernel of an ordered axis is no Gauss
curve but the cubic B-spline, the density of the sum of four even numbers. It is as good as equal to a Gauss curve, and
its density, its integral and its draws need only +, -, * and /, which IEEE 754 defines to the last bit. `exp`, `erf`
and powers are the C library's own, and two candidates that are near each other in score would change places with
another library. Sums are those of `fsum`, which is rounded correctly: `sum` adds otherwise since Python 3.12.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, sqrt

from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import EXACT, ln
from repro.scheduler.search.space import Axis, Point, Space

KNOT = sqrt(3)  # between the knots of a B-spline whose standard deviation is 1; IEEE 754 defines roots, too
# The standard deviation of a kernel of an ordered axis, of a way of 1. Where there are few values, which lie as far
# from each other as any kernel is wide, it follows from the number of points; where there are many, from how far it is
# to the next points. Measured on tables and on functions (benchmarks/RESULTS.md): each way is worse at the other's.
FEW = 20  # values
WIDTH = 0.07  # where there are few values, for one point
GAP = 0.7  # of the gap to the farther one of both neighbours, where there are many
NARROWEST = 100  # no kernel is narrower than so many parts of the way, nor than the number of points says (magic clip)
OTHERS = 0.15  # weight of the other choices of an axis without order, against the point's own: it falls with each point


class Parzen:
    """The density of some points of a space; 1 everywhere if there are none."""

    def __init__(self, space: Space, points: Sequence[Point]) -> None:
        self._space = space
        self._points = points
        self._mixtures = [
            _mixture(axis, [point[number] for point in points], len(space.axes))
            for number, axis in enumerate(space.axes)
        ]

    def density(self, point: Point) -> float:
        products = [1.0] * len(self._points)
        for mixture, place in zip(self._mixtures, point, strict=True):
            products = [product * one for product, one in zip(products, mixture.densities(place), strict=True)]
        return (1 + fsum(products)) / (1 + len(products))

    def draw(self, source: Draws) -> Point:
        """A point drawn from the mixture, as rounded as its values are."""
        number = source.below(len(self._points) + 1) - 1
        if number < 0:  # the prior, which counts as one more point
            return self._space.rounded([source.unit() for _ in self._mixtures])
        return self._space.rounded([mixture.draw(number, source) for mixture in self._mixtures])


class _Splines:
    """The kernels of an ordered axis, each cut off at the ends of the way and scaled to an area of 1."""

    def __init__(self, axis: Axis, centres: Sequence[float], widths: Sequence[float]) -> None:
        knots = [width * KNOT for width in widths]
        areas = [_area((1 - c) / knot) - _area(-c / knot) for c, knot in zip(centres, knots, strict=True)]
        self._axis, self._kernels = axis, list(zip(centres, knots, areas, strict=True))
        self._known: dict[float, list[float]] = {}

    def densities(self, place: float) -> list[float]:
        if place not in self._known:
            self._known[place] = self._densities(place)
        return self._known[place]

    def _densities(self, place: float) -> list[float]:
        """Of each kernel; where values have parts of the way, the mean over the part."""
        low, high = self._axis.part(place)
        if low == high:
            return [_spline((place - centre) / knot) / (knot * area) for centre, knot, area in self._kernels]
        return [
            (_area((high - centre) / knot) - _area((low - centre) / knot)) / ((high - low) * area)
            for centre, knot, area in self._kernels
        ]

    def draw(self, number: int, source: Draws) -> float:
        centre, knot, _ = self._kernels[number]
        while True:
            place = centre + (fsum(source.unit() for _ in range(4)) - 2) * knot
            if 0 <= place < 1:
                return place


class _Choices:
    """The kernels of an axis without order: a point's own choice, and evenly all others (Aitchison and Aitken)."""

    def __init__(self, axis: Axis, centres: Sequence[float], others: float) -> None:
        assert axis.size is not None
        self._axis, self._centres, self._size = axis, centres, axis.size
        self._other = others / (1 + others) / axis.size
        self._own = 1 / (1 + others) + self._other

    def densities(self, place: float) -> list[float]:
        own, other = self._own * self._size, self._other * self._size
        return [own if centre == place else other for centre in self._centres]

    def draw(self, number: int, source: Draws) -> float:
        return source.unit() if source.unit() < self._other * self._size else self._centres[number]


def _mixture(axis: Axis, centres: Sequence[float], axes: int) -> _Splines | _Choices:
    if axis.is_ordered:
        return _Splines(axis, centres, _widths(axis, centres, axes))
    return _Choices(axis, centres, OTHERS * (axis.size or 0) / (max(1, len(centres)) + 1))


def _widths(axis: Axis, centres: Sequence[float], axes: int) -> list[float]:
    count = max(1, len(centres))
    if axis.size is not None and axis.size <= FEW:
        widths = [WIDTH / _root(count, axes + 4)] * len(centres)  # as a density in so many dimensions needs
    else:
        widths = [GAP * gap for gap in _gaps(centres)]
    narrowest = 1 / min(NARROWEST, count + 2)
    return [max(width, narrowest) for width in widths]


def _gaps(centres: Sequence[float]) -> list[float]:
    """How far it is from each point to the farther one of its neighbours. The ends of the way are neighbours of a
    point that is alone; else those at the margin would be as wide as it is far to the end."""
    if len(centres) == 1:
        return [max(centres[0], 1 - centres[0])]
    order = sorted(range(len(centres)), key=lambda number: (centres[number], number))
    gaps = [0.0] * len(centres)
    for number, after in pairwise(order):
        gap = centres[after] - centres[number]
        gaps[number], gaps[after] = max(gaps[number], gap), gap
    return gaps


def _root(number: int, degree: int) -> float:
    return float(EXACT.exp(ln(number) / degree))


def _spline(at: float) -> float:
    """The cubic B-spline with knots at -2, -1, 0, 1, 2."""
    far = abs(at)
    if far >= 2:
        return 0.0
    if far >= 1:
        return (2 - far) * (2 - far) * (2 - far) / 6
    return (4 - 6 * far * far + 3 * far * far * far) / 6


def _area(to: float) -> float:
    """The B-spline's area from -2 on."""
    if to >= 2:
        return 1.0
    if to > 0:
        return 1 - _area(-to)
    if to > -1:
        return 0.5 + (4 * to - 2 * to * to * to - 0.75 * to * to * to * to) / 6
    if to > -2:
        return (2 + to) * (2 + to) * (2 + to) * (2 + to) / 24
    return 0.0

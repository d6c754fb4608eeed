"""Parzen estimators: how densely points lie, as a mixture of product kernels and an even prior.

After Bergstra et al. 2011 (Algorithms for Hyper-Parameter Optimization) and Watanabe 2023 (Tree-Structured Parzen
Estimator: Understanding Its Algorithm Components). One thing is our own: the kernel of an ordered axis is no Gauss
curve but the cubic B-spline, the density of the sum of four even numbers. It is as good as equal to a Gauss curve, and
its density, its integral and its draws need only +, -, * and /, which IEEE 754 defines to the last bit. `exp`, `erf`
and powers are the C library's own, and two candidates that are near each other in score would change places with
another library. Sums are those of `fsum`, which is rounded correctly: `sum` adds otherwise since Python 3.12.
"""

from collections.abc import Sequence
from math import fsum, sqrt

from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import EXACT, ln
from repro.scheduler.search.space import Axis, Point, Space

KNOT = sqrt(3)  # between the knots of a B-spline whose standard deviation is 1; IEEE 754 defines roots, too
WIDTH = 0.2  # of the kernel of an ordered axis for one point: its standard deviation, of a way of 1
NARROWEST = 100  # no kernel is narrower than so many parts of the way, nor than the number of points says (magic clip)
OTHERS = 1.0  # weight of all other choices together against the point's own, for one point
PRIOR = 1.0  # weight of the even prior; a point has 1


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
        return (PRIOR + fsum(products)) / (PRIOR + len(products))

    def draw(self, source: Draws) -> Point:
        """A point drawn from the mixture, as rounded as its values are."""
        number = int(source.unit() * (PRIOR + len(self._points)) - PRIOR + 1) - 1
        if number < 0:
            return self._space.rounded([source.unit() for _ in self._mixtures])
        return self._space.rounded([mixture.draw(number, source) for mixture in self._mixtures])


class _Splines:
    """The kernels of an ordered axis, each cut off at the ends of the way and scaled to an area of 1."""

    def __init__(self, axis: Axis, centres: Sequence[float], width: float) -> None:
        self._axis, self._centres, self._knot = axis, centres, width * KNOT
        self._areas = [_area((1 - c) / self._knot) - _area(-c / self._knot) for c in centres]
        self._known: dict[float, list[float]] = {}

    def densities(self, place: float) -> list[float]:
        if place not in self._known:
            self._known[place] = self._densities(place)
        return self._known[place]

    def _densities(self, place: float) -> list[float]:
        """Of each kernel; where values have parts of the way, the mean over the part."""
        low, high = self._axis.part(place)
        pairs = zip(self._centres, self._areas, strict=True)
        knot = self._knot
        if low == high:
            return [_spline((place - centre) / knot) / (knot * area) for centre, area in pairs]
        scale = high - low
        return [
            (_area((high - centre) / knot) - _area((low - centre) / knot)) / (scale * area) for centre, area in pairs
        ]

    def draw(self, number: int, source: Draws) -> float:
        while True:
            place = self._centres[number] + (fsum(source.unit() for _ in range(4)) - 2) * self._knot
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
    count = max(1, len(centres))
    if axis.is_ordered:
        narrowest = 1 / min(NARROWEST, count + 1)
        return _Splines(axis, centres, max(WIDTH / _root(count, axes + 4), narrowest))
    return _Choices(axis, centres, OTHERS * (axis.size or 0) / (count + 1))


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

"""The space that a search looks in: one axis a parameter, each value with its place between 0 and 1.

A point has a place for each axis, in the order of the keys' spelling: two configs that differ only in the order of
their keys are one config, and must be one search.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from repro.scheduler.configs.draws import BITS, Draws
from repro.scheduler.configs.variations import Choice, Span
from repro.stages.config import Config, Value

Point = tuple[float, ...]

TRIES = 100  # draws for a point that was not tried yet; then a finite space is gone through


@dataclass(frozen=True)
class Axis:
    """A parameter and what it may be.

    The values of a list that are all numbers are ordered by size, each as far from the next as any other: who writes
    [16, 32, 64] has chosen the steps. Those of any other list have no order.
    """

    key: str
    choice: Choice

    @cached_property
    def values(self) -> Sequence[Value]:
        """Of a list; empty for a range."""
        if isinstance(self.choice, Span):
            return ()
        return sorted(self.choice) if self.is_ordered else self.choice  # type: ignore[type-var]

    @cached_property
    def is_ordered(self) -> bool:
        return isinstance(self.choice, Span) or all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.choice
        )

    @cached_property
    def size(self) -> int | None:
        """How many values there are; None for a range of numbers that are not whole."""
        if not isinstance(self.choice, Span):
            return len(self.choice)
        return int(self.choice.high) - int(self.choice.low) + 1 if self.choice.is_whole else None

    def at(self, place: float) -> Value:
        """The value at a place of 0 or more and under 1."""
        if isinstance(self.choice, Span):
            return self.choice.at(place)
        return self.values[int(place * 2**BITS) * len(self.choice) >> BITS]

    def place(self, value: Value) -> float | None:
        """The place of a value, within its part of the way; None if it is none of this axis."""
        if isinstance(self.choice, Span):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_within = is_number and self.choice.low <= value <= self.choice.high  # type: ignore[operator]
            is_whole = isinstance(value, int) or not self.choice.is_whole
            return self.choice.place(value) if is_within and is_whole else None  # type: ignore[arg-type]
        equal = [i for i, known in enumerate(self.values) if known == value and _is_alike(known, value)]
        return (equal[0] + 0.5) / len(self.choice) if equal else None

    def part(self, place: float) -> tuple[float, float]:
        """From where to where the value at this place has it for itself; nothing, where values lie densely."""
        if self.size is None:
            return place, place
        if isinstance(self.choice, Span) and self.choice.log:
            return self.choice.part(self.choice.at(place))
        return place - 0.5 / self.size, place + 0.5 / self.size

    def value(self, number: int) -> Value:
        """The value with this number, from 0, of an axis that has a size."""
        return self.choice.low + number if isinstance(self.choice, Span) else self.values[number]


@dataclass(frozen=True)
class Space:
    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, choices: Mapping[str, Choice]) -> "Space":
        return cls(tuple(Axis(key, choices[key]) for key in sorted(choices)))

    @property
    def size(self) -> int | None:
        """How many points there are; None if some axis has no end of them."""
        sizes = [axis.size for axis in self.axes]
        return None if None in sizes else prod(size for size in sizes if size)

    def at(self, point: Sequence[float]) -> Config:
        return {axis.key: axis.at(place) for axis, place in zip(self.axes, point, strict=True)}

    def point(self, values: Mapping[str, Value]) -> Point | None:
        """Where a config lies; None if it does not say each of the keys, or says what is not in the space."""
        places = [axis.place(values[axis.key]) if axis.key in values else None for axis in self.axes]
        found = tuple(place for place in places if place is not None)
        return found if len(found) == len(self.axes) else None

    def rounded(self, places: Sequence[float]) -> Point:
        """The point of the values at these places. Only such points are compared and scored."""
        point = self.point(self.at(places))
        assert point is not None  # what an axis gives lies on it
        return point

    def fresh(self, source: Draws, tried: Collection[Point]) -> Point | None:
        """A point that was not tried, drawn evenly; None if there is none any more.

        Where draws find none, a finite space is gone through from a drawn point on. Of an endless one that is so
        narrow that its rounded values are used up, there is none either.
        """
        for _ in range(TRIES):
            point = self.rounded([source.unit() for _ in self.axes])
            if point not in tried:
                return point
        if (size := self.size) is None or len(tried) > size:
            return None
        start = source.below(size)
        points = (self._numbered((start + step) % size) for step in range(min(size, len(tried) + 1)))
        return next((point for point in points if point not in tried), None)

    def _numbered(self, number: int) -> Point:
        values = Config()
        for axis in self.axes:
            assert axis.size is not None
            number, own = divmod(number, axis.size)
            values[axis.key] = axis.value(own)
        point = self.point(values)
        assert point is not None
        return point


def _is_alike(one: Value, other: Value) -> bool:
    """`True` is no 1, though they are equal."""
    return isinstance(one, bool) == isinstance(other, bool)

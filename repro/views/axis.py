"""Where values lie along an axis: numbers by their size, all else evenly spaced. Pure."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repro.scheduler.configs.spelling import spell
from repro.stages.plain import figure

TICKS = 6  # about so many
MOST_LABELS = 24  # of values that are no numbers
MOST = sys.float_info.max
LONGEST = 18  # characters of a label


@dataclass(frozen=True)
class Axis:
    """`ticks`: where, from 0 to 1, and what stands there."""

    ticks: Sequence[tuple[float, str]]
    begin: float = 0.0
    end: float = 0.0
    log: bool = False
    places: Mapping[str, float] = field(default_factory=dict)  # of what is spaced evenly

    def place(self, value: Any) -> float | None:
        """From 0 to 1; None for what has no place: nothing, NaN, and what a logarithm does not know."""
        if value is None:
            return None
        if self.places:
            return self.places.get(shown(value))
        known = _scaled(value, self.log)
        return None if known is None else _share(known, self.begin, self.end)


def of(values: Sequence[Any], log: bool = False) -> Axis:
    """The axis on which these values lie."""
    known = [value for value in values if value is not None]
    if not all(_is_number(value) for value in known):
        return _even(known)
    scaled = [at for value in known if (at := _scaled(value, log)) is not None]
    if not scaled:
        return Axis([], log=log)
    begin, end = min(scaled), max(scaled)
    if begin == end:
        margin = 0.5 if log else abs(begin) * 0.1 or 1.0
        begin, end = max(begin - margin, -MOST), min(end + margin, MOST)
    marks = _decades(begin, end) if log else _round(begin, end)
    return Axis([(_share(at, begin, end), label) for at, label in marks], begin, end, log)


def shown(value: Any) -> str:
    """A value as an axis and a reader see it."""
    if _is_number(value):
        return figure(value, 6)
    return spell(value) if isinstance(value, str | bool | list) else str(value)


def _even(values: Sequence[Any]) -> Axis:
    """Numbers first, by size, then the others by their spelling."""
    order = sorted(values, key=lambda v: (0, v, "") if _is_number(v) and not math.isnan(v) else (1, 0, shown(v)))
    names = list(dict.fromkeys(shown(value) for value in order))
    places = {name: (number + 0.5) / len(names) for number, name in enumerate(names)}
    stride = -(-len(names) // MOST_LABELS)
    return Axis([(places[name], _cut(name)) for name in names[::stride]], places=places)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scaled(value: Any, log: bool) -> float | None:
    if not _is_number(value) or not math.isfinite(value) or (log and value <= 0):
        return None
    return math.log10(value) if log else float(value)


def _share(at: float, begin: float, end: float) -> float:
    return (at / 2 - begin / 2) / (end / 2 - begin / 2 or 1.0)  # halves: the whole range may be past what floats hold


def _round(begin: float, end: float) -> list[tuple[float, str]]:
    """Round numbers in between; the ends themselves where there are none."""
    step = _step((end - begin) / TICKS)
    if not step:
        return [(begin, figure(begin)), (end, figure(end))]
    first, last = math.ceil(begin / step), math.floor(end / step)
    digits = 6 if abs(begin) < 1e6 * (end - begin) else 15
    return [(n * step, figure(n * step + 0.0, digits)) for n in range(first, min(last, first + 3 * TICKS) + 1)]


def _step(rough: float) -> float:
    if not math.isfinite(rough) or rough <= 1e-300:
        return 0.0
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= rough)


def _decades(begin: float, end: float) -> list[tuple[float, str]]:
    """Powers of ten, some of them if they are many; of a short axis its round numbers."""
    first, last = math.ceil(begin), math.floor(end)
    if last - first < 1:
        ends = (10.0 ** max(begin, -307), 10.0 ** min(end, 308))
        ticks = [(math.log10(at), label) for at, label in _round(*ends) if at > 0]
        return [(at, label) for at, label in ticks if begin <= at <= end]
    stride = -(-(last - first + 1) // (2 * TICKS))
    return [(float(power), f"1e{power}") for power in range(first, last + 1, stride)]


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"

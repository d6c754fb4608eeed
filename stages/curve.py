"""All figures that a stage tells by `Run.progress`, kept beside its result: step and figures, and no clock.

Up to `MOST` points all are kept. Past that, neighbouring points form buckets, of two, four, eight and so on, and of a
bucket those stay in which a figure is lowest or highest, or for the first time not finite, and the last one. So no peak
and no NaN is lost, and what is kept is a function of what was told alone: the same for a run that was killed and went
on. (Thinning by minimum and maximum: M4 of Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation",
VLDB 2014, without the first point of a bucket.)
"""

import csv
import io
import math
from collections.abc import Mapping
from itertools import groupby, islice
from typing import Any

MOST = 4000  # points
MOST_NAMES = 1000  # figures of one run, those first told: a name made anew at each step is no curve

Figures = dict[str, int | float | bool | str]
Told = tuple[int, int, Figures]  # which one it was, the step, the figures


class CurveRecorder:
    """The points told so far, thinned."""

    def __init__(self) -> None:
        self._told, self._width = 0, 1
        self._points: list[Told] = []
        self._names: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._points)

    def add(self, step: int, figures: Figures) -> None:
        """Note one point; one without figures is none."""
        self._names |= dict.fromkeys(
            islice((n for n in figures if n not in self._names), MOST_NAMES - len(self._names))
        )
        figures = {name: value for name, value in figures.items() if name in self._names}
        if not figures:
            return
        self._points.append((self._told, step, figures))
        self._told += 1
        if self._width > 1:
            self._thin_last_bucket()
        while len(self._points) > MOST and self._width < self._told:
            self._width *= 2
            buckets = groupby(self._points, key=lambda point: point[0] // self._width)
            self._points = [point for _, bucket in buckets for point in _outstanding(list(bucket))]

    def state(self) -> dict[str, Any]:
        """What JSON can hold of it, for a checkpoint."""
        return {
            "told": self._told,
            "width": self._width,
            "names": list(self._names),
            "points": [list(point) for point in self._points],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as at the time of a checkpoint."""
        self._told, self._width = state["told"], state["width"]
        self._names = dict.fromkeys(state["names"])
        self._points = [(number, step, dict(figures)) for number, step, figures in state["points"]]

    def as_csv(self) -> bytes:
        """A row a point: the step, and each figure in a column named after it, empty where it was not told."""
        names = list(dict.fromkeys(name for _, _, figures in self._points for name in figures))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", *names])
        for _, step, figures in self._points:
            writer.writerow([step, *(_spelled(figures[name]) if name in figures else "" for name in names)])
        return text.getvalue().encode()

    def _thin_last_bucket(self) -> None:
        number, begin = (self._told - 1) // self._width, len(self._points) - 1
        while begin and self._points[begin - 1][0] // self._width == number:
            begin -= 1
        self._points[begin:] = _outstanding(self._points[begin:])


def _outstanding(points: list[Told]) -> list[Told]:
    """Of neighbouring points those with the extremes. Of what this has left of two parts it leaves what it would leave
    of the whole: it does not matter how often, or when, it is called."""
    kept = {points[-1][0]: points[-1]}
    for name in dict.fromkeys(name for _, _, figures in points for name in figures):
        first: dict[str, Told] = {}  # kind of not-finite -> where it came first
        low = high = None
        for point in points:
            value = point[2].get(name)
            if isinstance(value, str | None):
                continue
            if not math.isfinite(value):
                first.setdefault(str(value), point)
                continue
            low = point if low is None or value < low[2][name] else low  # type: ignore[operator]
            high = point if high is None or value > high[2][name] else high  # type: ignore[operator]
        kept |= {point[0]: point for point in (low, high, *first.values()) if point}
    return [kept[number] for number in sorted(kept)]


def _spelled(value: float | bool | str) -> str:
    """So that it reads back as the same figure."""
    return value if isinstance(value, str) else repr(value)

"""Curves of runs over epochs, from a finished run's file or from a running run's points. Pure."""

import contextlib
import csv
import io
import json
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from repro.scheduler.live.points import Point
from repro.stages.errors import ReproError
from repro.stages.plain import number

loads: Callable[[str], Any] = json.loads
with contextlib.suppress(ImportError):  # the extra ui has it, which shows many
    import orjson

    loads = orjson.loads

FILE = "losses.csv"


@dataclass(frozen=True)
class Curve:
    """One figure of one run over its epochs or, where those are not known, its steps.

    Attributes:
        of_validation: of images that were not trained on.
    """

    run: str
    figure: str
    unit: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def of_validation(self) -> bool:
        return self.figure.startswith("val")

    @property
    def lost_at(self) -> float | None:
        """Where the figure was first NaN or infinite; None if it never was."""
        lost = np.flatnonzero(~np.isfinite(np.asarray(self.y, float)))
        return self.x[lost[0]] if len(lost) else None

    @property
    def finite(self) -> "Curve":
        """What of it can be drawn."""
        pairs = [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y)]
        return replace(self, x=[x for x, _ in pairs], y=[y for _, y in pairs])


def from_csv(run: str, data: bytes, file: str = FILE) -> list[Curve]:
    """The curves of a `losses.csv`, or of what a stage told by `progress`: the first column is what they go over, empty
    cells are left out. Of what was told, texts are no curves.

    Raises:
        ReproError: it is no table of numbers.
    """
    try:
        header, columns = _columns(data.decode(), file)
    except (ValueError, IndexError) as error:
        raise ReproError(f"{run}: its {file} is no table of numbers: {error}") from error
    at = [place or 0.0 for place in columns[0]]
    curves = [_without_gaps(run, figure, header[0], at, y) for figure, y in zip(header, columns, strict=True)]
    return [curve for curve in curves[1:] if curve.y]


def from_points(run: str, points: Iterable[Point], epochs: float | None) -> list[Curve]:
    """From what a running run has sent. With the number of its epochs the steps become parts of epochs."""
    known = list(points)
    if any(not point.total for point in known):  # nobody knows of how many steps
        epochs = None
    unit = "epoch" if epochs else "step"
    places = [point.step * (epochs / max(1, point.total or 1)) if epochs else point.step for point in known]
    figures = dict.fromkeys(name for point in known for name in point.values)
    curves = [
        _without_gaps(run, name, unit, places, [number(point.values.get(name)) for point in known]) for name in figures
    ]
    return [curve for curve in curves if curve.y]


def chosen(curves: Iterable[Curve], figures: Sequence[str]) -> list[Curve]:
    """Those of the figures named, else the losses."""
    return [c for c in curves if (c.figure in figures if figures else "loss" in c.figure)]


def thinned(curve: Curve, columns: int, begin: float = -math.inf, end: float = math.inf) -> Curve:
    """What a drawing of so many columns of pixels shows of a part of a curve: of each column the least and the largest
    value; the first and the last point, and every one that is not finite, always; one point beyond either side, so that
    the line goes on.

    No sampling: no peak is lost. (Min-max aggregation; M4 of Jugel et al., VLDB 2014, has first and last besides.)
    """
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    inside = np.flatnonzero((x >= begin) & (x <= end))
    if len(inside):
        shown = np.arange(max(0, inside[0] - 1), min(len(x) - 1, inside[-1] + 1) + 1)
    else:  # between two points there is a line, too
        before, behind = np.flatnonzero(x < begin)[-1:], np.flatnonzero(x > end)[:1]
        shown = np.concatenate([before, behind]) if len(before) and len(behind) else inside
    if len(shown) > 4 * columns:
        at = x[shown]
        column = np.floor((at - at[0]) / ((at[-1] - at[0]) or 1) * columns)
        finite = np.isfinite(y[shown])
        kept = ~finite
        kept[[0, 1, -2, -1]] = True
        order = np.flatnonzero(finite)
        order = order[np.argsort(column[order], kind="stable")]  # nearly always it is in order
        columns_of, values = column[order], y[shown][order]
        begins = np.flatnonzero(np.diff(columns_of, prepend=-1))
        lengths = np.diff(begins, append=len(order))
        for extreme in (np.minimum, np.maximum) if len(order) else ():
            at = np.flatnonzero(values == np.repeat(extreme.reduceat(values, begins), lengths))
            kept[order[at[np.flatnonzero(np.diff(columns_of[at], prepend=-1))]]] = True
        shown = shown[kept]
    return replace(curve, x=x[shown].tolist(), y=y[shown].tolist())


def smooth(curve: Curve, weight: float) -> Curve:
    """Exponential moving average, from the first value on without a bias to 0; weight 0 leaves all as it is."""
    smoothed, mean, total = list[float](), 0.0, 0.0
    for value in curve.y:
        if not math.isfinite(value):
            smoothed.append(value)
            continue
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        smoothed.append(mean / total)
    return replace(curve, y=smoothed)


def _columns(text: str, file: str) -> tuple[list[str], Sequence[Sequence[float | None]]]:
    """The header, and what stands below each of its cells."""
    head, _, body = text.removesuffix("\n").partition("\n")
    header = head.split(",")
    if '"' not in head and "\r" not in head and (numbers := _numbers(body, len(header))) is not None:
        return header, [array("d", numbers[i :: len(header)]) for i in range(len(header))]
    header, *rows = csv.reader(io.StringIO(text))
    return header, [[_number(row[i], file == FILE or i == 0) for row in rows] for i in range(len(header))]


def _numbers(body: str, width: int) -> "array[float] | None":
    """All cells of a table that holds nothing but numbers as JSON spells them; None of any other. Four times as fast as
    row by row, ten times with orjson: pages show many."""
    if {line.count(",") for line in body.split("\n")} != {width - 1} or "true" in body or "false" in body:
        return None
    try:
        return array("d", loads("[" + body.replace("\n", ",") + "]"))
    except (ValueError, TypeError, OverflowError):
        return None


def _number(cell: str, strict: bool) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        if strict:
            raise
        return None


def _without_gaps(run: str, figure: str, unit: str, x: Sequence[float], y: Sequence[float | None]) -> Curve:
    if isinstance(y, array) or None not in y:
        return Curve(run, figure, unit, x, cast(Sequence[float], y))
    pairs = [(at, value) for at, value in zip(x, y, strict=True) if value is not None]
    return Curve(run, figure, unit, [at for at, _ in pairs], [value for _, value in pairs])

"""Curves of runs over epochs, from a finished run's file or from a running run's points. Pure."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from repro.scheduler.live.points import Point
from repro.stages.errors import ReproError

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


def from_csv(run: str, data: bytes) -> list[Curve]:
    """The curves of a `losses.csv`: its first column is what they go over; empty cells are left out.

    Raises:
        ReproError: it is no table of numbers.
    """
    try:
        header, *rows = csv.reader(io.StringIO(data.decode()))
        columns = [[float(row[i]) if row[i] else math.nan for row in rows] for i in range(len(header))]
    except (ValueError, IndexError) as error:
        raise ReproError(f"{run}: its {FILE} is no table of numbers: {error}") from error
    curves = [
        _without_gaps(Curve(run, figure, header[0], columns[0], y)) for figure, y in zip(header, columns, strict=True)
    ]
    return [curve for curve in curves[1:] if curve.y]


def from_points(run: str, points: Iterable[Point], epochs: float | None) -> list[Curve]:
    """From what a running run has sent. With the number of its epochs the steps become parts of epochs."""
    known = list(points)
    unit = "epoch" if epochs else "step"
    places = [point.step * (epochs / max(1, point.total)) if epochs else point.step for point in known]
    figures = dict.fromkeys(name for point in known for name in point.values)
    return [
        _without_gaps(Curve(run, name, unit, places, [point.values.get(name, math.nan) for point in known]))
        for name in figures
    ]


def chosen(curves: Iterable[Curve], figures: Sequence[str]) -> list[Curve]:
    """Those of the figures named, else the losses."""
    return [c for c in curves if (c.figure in figures if figures else "loss" in c.figure)]


def smooth(curve: Curve, weight: float) -> Curve:
    """Exponential moving average, from the first value on without a bias to 0; weight 0 leaves all as it is."""
    smoothed, mean, total = list[float](), 0.0, 0.0
    for value in curve.y:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        smoothed.append(mean / total)
    return replace(curve, y=smoothed)


def _without_gaps(curve: Curve) -> Curve:
    pairs = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
    return replace(curve, x=[x for x, _ in pairs], y=[y for _, y in pairs])

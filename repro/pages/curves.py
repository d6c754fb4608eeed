"""The curves of some runs: each as far as a drawing of so many columns of pixels shows it, and what there is to say."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.pages import chosen
from repro.readers.curve_reader import CurveSet, Finder
from repro.readers.kept_curves import KeptCurves
from repro.readers.named_configs import Reader
from repro.scheduler.live import curves
from repro.stages.errors import ConfigError

if TYPE_CHECKING:
    from repro.scheduler.live.curves import Curve
    from repro.scheduler.server.connection import Queue
    from repro.worker.store.store import Store

COLUMNS, MOST_COLUMNS = 600, 4000  # of pixels
FIRST = 6  # figures that are shown of runs that have no loss, if nobody has named one
MOST_FIGURES = 24  # at once

_KEPT = KeptCurves()


@dataclass(frozen=True)
class Query:
    """Which curves, and which part of them: from `begin` to `end` on their x axis."""

    names: Sequence[str] = ()
    figures: Sequence[str] = ()
    columns: int = COLUMNS
    begin: float = field(default=-math.inf)
    end: float = field(default=math.inf)

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: there is no such part, or no such drawing.
        """
        if not 1 <= self.columns <= MOST_COLUMNS:
            raise ConfigError(f"columns={self.columns}: a whole number from 1 to {MOST_COLUMNS}")
        if not self.begin <= self.end:
            raise ConfigError(f"begin={self.begin:g}, end={self.end:g}: the end lies before the begin")
        if len(self.figures) > MOST_FIGURES:
            raise ConfigError(f"at most {MOST_FIGURES} figures can be shown at once")


def view(db: "Queue", open_store: "Callable[[], Store]", query: Query) -> dict[str, Any]:
    """`runs` in the order chosen, `curves`, `missing` (a line a run that has none), `unfinished` (runs whose curves may
    still grow), `figures` (all that there are).

    Raises:
        ReproError: there is no such run, or the store can't be reached.
    """
    names = chosen.names(db, query.names)
    found = gather(db, open_store, names, query.figures)
    return {
        "runs": names,
        "curves": [_part(curve, found.labels[curve.run], query) for curve in found.curves],
        "missing": found.missing,
        "unfinished": list(found.unfinished),
        "figures": list(found.figures),
    }


def summary(
    db: "Queue", open_store: "Callable[[], Store]", names: Sequence[str], figures: Sequence[str]
) -> dict[str, Any]:
    """The same in numbers: of each curve `first`, `last`, `least` and `largest` value, and where it was `lost`."""
    found = gather(db, open_store, names, figures)
    return {
        "runs": list(names),
        "curves": [_in_numbers(curve, found.labels[curve.run]) for curve in found.curves],
        "missing": found.missing,
        "figures": list(found.figures),
    }


def gather(
    db: "Queue", open_store: "Callable[[], Store]", names: Sequence[str], figures: Sequence[str] = ()
) -> CurveSet:
    """The curves of the figures named; else the losses, or the first figures of runs that have no loss."""
    if not names:
        return CurveSet([], {}, [], live=False)
    store = open_store()
    finder = Finder(Reader(lambda: db), lambda: store, _KEPT)
    found = finder.gather(names, figures, forgiving=True)
    if not found.curves and not figures and found.figures:
        return finder.gather(names, found.figures[:FIRST], forgiving=True)
    return found


def _part(curve: "Curve", label: str, query: Query) -> dict[str, Any]:
    part = curves.thinned(curve, query.columns, query.begin, query.end)
    return vars(part) | {"label": label, "validation": curve.of_validation}


def _in_numbers(curve: "Curve", label: str) -> dict[str, Any]:
    values = np.asarray(curve.y, float)
    finite = values[np.isfinite(values)]
    return {
        "run": curve.run,
        "figure": curve.figure,
        "unit": curve.unit,
        "label": label,
        "points": len(curve.y),
        "first": curve.y[0],
        "last": curve.y[-1],
        "at": curve.x[-1],
        "least": float(finite.min()) if len(finite) else None,
        "largest": float(finite.max()) if len(finite) else None,
        "lost": curve.lost_at,
    }

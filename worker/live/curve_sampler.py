"""How far a run's figures have been told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.scheduler.live.points import Point

EVERY = 500  # points; after each so many the gaps double, so that a month's run leaves some 6,000
GAP = 2.0  # seconds between two points at first


@dataclass
class Curve:
    """Decides which of a run's figures are told; nothing is told twice."""

    step: int = -1
    count: int = 0
    due: float = 0.0  # by the worker's monotonic clock

    def next(self, progress: Mapping[str, Any] | None, now: float) -> Point | None:
        """The point to tell now, if there is one."""
        if not progress or not progress["metrics"] or progress["step"] <= self.step or now < self.due:
            return None
        return Point(progress["step"], progress["total"], progress["metrics"])

    def passed(self, point: Point, now: float) -> None:
        self.step, self.count = point.step, self.count + 1
        self.due = now + GAP * 2 ** (self.count // EVERY) - GAP / 2  # half a gap for the jitter of who asks

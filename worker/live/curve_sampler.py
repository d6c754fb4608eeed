"""Which points of a run's curve are sent to the queue, and how far that has got."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.scheduler.live.points import Point

EVERY = 500  # points; after each so many the gaps double, so that a run of a month leaves some 6,000
GAP = 2.0  # seconds between two points at first


@dataclass
class CurveSampler:
    """Decides which of a run's figures are sent; none is sent twice."""

    step: int = -1
    count: int = 0
    due: float = 0.0  # by the worker's monotonic clock

    def next(self, progress: Mapping[str, Any] | None, now: float) -> Point | None:
        """The point to send now, if there is one."""
        if not progress or not progress["metrics"] or progress["step"] <= self.step or now < self.due:
            return None
        return Point(progress["step"], progress["total"], progress["metrics"])

    def sent(self, point: Point, now: float) -> None:
        self.step, self.count = point.step, self.count + 1
        self.due = now + GAP * 2 ** (self.count // EVERY) - GAP / 2  # half a gap for the jitter of who asks

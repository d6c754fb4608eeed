"""Which points of a run's curve are sent to the queue, and how far that has got."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.scheduler.live.points import Point

EVERY = 500  # points; after each so many the gaps double, so that a run of a month leaves some 6,000
MOST_ODD = 100  # figures
GAP = 2.0  # seconds between two points at first


@dataclass
class CurveSampler:
    """Decides which of a run's figures are sent; none is sent twice. A figure that is not finite for the first time
    always is, for who looks at a run wants to see that it has diverged."""

    step: int = -1
    count: int = 0
    due: float = 0.0  # by the worker's monotonic clock
    odd: deque[Point] = field(default_factory=deque)
    _odd_names: set[str] = field(default_factory=set)

    def notice(self, progress: Mapping[str, Any]) -> None:
        """Hear of every point that the worker hears of."""
        metrics = progress["metrics"]
        names = {n for n, v in metrics.items() if isinstance(v, float) and not math.isfinite(v)} - self._odd_names
        if names and len(self._odd_names) < MOST_ODD:
            self._odd_names |= names
            self.odd.append(Point(progress["step"], progress["total"], metrics))

    def next(self, progress: Mapping[str, Any] | None, now: float) -> Point | None:
        """The point to send now, if there is one."""
        if self.odd:
            return self.odd[0]
        if not progress or not progress["metrics"] or progress["step"] <= self.step or now < self.due:
            return None
        return Point(progress["step"], progress["total"], progress["metrics"])

    def sent(self, point: Point, now: float) -> None:
        if self.odd and self.odd[0] is point:
            self.odd.popleft()
        self.step, self.count = max(self.step, point.step), self.count + 1
        self.due = now + GAP * 2 ** (self.count // EVERY) - GAP / 2  # half a gap for the jitter of who asks

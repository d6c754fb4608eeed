"""Tells the queue of this worker and of what its runs print and measure. Nothing depends on it but who looks on."""

import contextlib
import threading
import time
from collections.abc import Callable

from repro.scheduler.live import log_pieces, points
from repro.scheduler.server.connection import DriverError, Queue
from repro.worker.attempt.executor import Attempt
from repro.worker.gpus import Inventory
from repro.worker.polling import Pace


class Teller(threading.Thread):
    """Each third of the lease's length: says that the worker is alive.

    In between it looks at what the runs use, and tells what they have printed, and their figures; nothing if there is
    nothing new. `attempts`: those that run now.
    """

    def __init__(
        self,
        db: Queue,
        lease: float,
        pace: Pace,
        inventory: Inventory,
        announce: Callable[[], None],
        attempts: Callable[[], list[Attempt]],
    ) -> None:
        super().__init__(name="teller", daemon=True)
        self.db, self.lease, self.pace, self.inventory = db, lease, pace, inventory
        self.announce, self.attempts = announce, attempts
        self._ending = threading.Event()

    def run(self) -> None:
        due = time.monotonic() + self.lease / 3
        while not self._ending.wait(min(self.pace.tell(), max(0.0, due - time.monotonic()))):
            if time.monotonic() >= due:
                due = time.monotonic() + self.lease / 3
                with contextlib.suppress(DriverError):
                    self.announce()
            for attempt in self.attempts():
                attempt.look(self.inventory)
                with contextlib.suppress(DriverError):
                    self._tell(attempt)

    def stop(self) -> None:
        self._ending.set()

    def _tell(self, attempt: Attempt) -> None:
        if piece := attempt.told.next():
            log_pieces.append(self.db, attempt.token, piece)
            attempt.told.passed(piece)
        if point := attempt.curve.next(attempt.progress, time.monotonic()):
            points.append(self.db, attempt.token, point)
            attempt.curve.passed(point, time.monotonic())

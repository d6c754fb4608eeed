"""Sends to the queue that this worker is alive, and what its runs print and measure. No run depends on it: it serves
those who look on."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from repro.scheduler.live import log_pieces, points
from repro.scheduler.server.connection import DriverError, Queue
from repro.worker.gpus import Inventory
from repro.worker.live import log_bound
from repro.worker.polling import PollingRates
from repro.worker.watched_thread import WatchedThread

if TYPE_CHECKING:
    from repro.worker.attempt.attempt import Attempt


class LiveReporter(WatchedThread):
    """Each third of the lease's length: says that the worker is alive.

    In between it measures what the runs use, and sends what they have printed, and their figures; nothing if there is
    nothing new. `attempts`: those that run now.
    """

    def __init__(
        self,
        db: Queue,
        lease: float,
        rates: PollingRates,
        inventory: Inventory,
        announce: Callable[[], None],
        attempts: "Callable[[], list[Attempt]]",
    ) -> None:
        super().__init__(name="reporter", daemon=True)
        self.db, self.lease, self.rates, self.inventory = db, lease, rates, inventory
        self.announce, self.attempts = announce, attempts
        self._ending = threading.Event()

    def work(self) -> None:
        due = time.monotonic() + self.lease / 3
        while not self._ending.wait(min(self.rates.report_interval(), max(0.0, due - time.monotonic()))):
            if time.monotonic() >= due:
                due = time.monotonic() + self.lease / 3
                with contextlib.suppress(DriverError):
                    self.announce()
            for attempt in self.attempts():
                # A convenience: whatever can't be measured or told is left out.
                with contextlib.suppress(Exception):
                    attempt.measure_usage(self.inventory)
                with contextlib.suppress(Exception):
                    self._report(attempt)
                if (log := attempt.log_cursor.log) is not None:
                    with contextlib.suppress(OSError):
                        log_bound.punch(log)

    def stop(self) -> None:
        self._ending.set()

    def _report(self, attempt: "Attempt") -> None:
        if piece := attempt.log_cursor.next():
            log_pieces.append(self.db, attempt.token, piece)
            attempt.log_cursor.sent(piece)
        if point := attempt.curve_sampler.next(attempt.progress, time.monotonic()):
            points.append(self.db, attempt.token, point)
            attempt.curve_sampler.sent(point, time.monotonic())

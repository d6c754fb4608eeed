"""Keeps the leases of this worker's runs alive, from a thread of the worker's own process.

It runs no stage code, so a stage that holds its interpreter for minutes loses nothing. A run whose token is
no longer ours is stopped: somebody else has it, or it was cancelled.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from scheduler import logs, metrics, runs
from scheduler.mongo import DriverError, Queue
from worker.cards import Inventory
from worker.execute import Attempt, Stopped
from worker.pace import Pace


class Keeper(threading.Thread):
    """Each third of the lease's length: says that the worker is alive, renews every registered attempt's lease.

    In between it tells what the runs have printed, and their figures; nothing if there is nothing new. It looks at
    what they use, and tells that with the lease.
    """

    def __init__(self, db: Queue, lease: float, pace: Pace, announce: Callable[[], None], inventory: Inventory) -> None:
        super().__init__(name="lease", daemon=True)
        self.db, self.lease, self.pace, self.announce, self.inventory = db, lease, pace, announce, inventory
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def add(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempts[attempt.token] = attempt

    def remove(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempts.pop(attempt.token, None)

    def run(self) -> None:
        renew_at = time.monotonic() + self.lease / 3
        while not self._ending.wait(min(self.pace.tell(), max(0.0, renew_at - time.monotonic()))):
            with self._lock:
                attempts = list(self._attempts.values())
            due = time.monotonic() >= renew_at
            if due:
                renew_at = time.monotonic() + self.lease / 3
            # An unreachable server is no loss yet: the next round tries again.
            for attempt in attempts:
                attempt.look(self.inventory)
                with contextlib.suppress(DriverError):
                    if due:
                        self._renew(attempt)
                    self._tell(attempt)
            if due:
                with contextlib.suppress(DriverError):
                    self.announce()

    def stop(self) -> None:
        self._ending.set()

    def _tell(self, attempt: Attempt) -> None:
        if piece := attempt.told.next():
            logs.append(self.db, attempt.token, piece)
            attempt.told.passed(piece)
        if point := attempt.curve.next(attempt.progress, time.monotonic()):
            metrics.append(self.db, attempt.token, point)
            attempt.curve.passed(point, time.monotonic())

    def _renew(self, attempt: Attempt) -> None:
        if not runs.renew(self.db, attempt.name, attempt.token, self.lease, attempt.news()):
            with self._lock:
                still_ours = attempt.token in self._attempts
            if still_ours:
                attempt.stop(Stopped("it was cancelled, or its lease was taken"))

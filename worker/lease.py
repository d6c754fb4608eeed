"""Keeps the leases of this worker's runs alive, from a thread of the worker's own process.

It runs no stage code, so a stage that holds its interpreter for minutes loses nothing. A run whose token is
no longer ours is stopped: somebody else has it, or it was cancelled.
"""

import contextlib
import threading
from collections.abc import Callable

from scheduler import runs
from scheduler.mongo import DriverError, Queue
from worker.execute import Attempt, Stopped


class Keeper(threading.Thread):
    """Each third of the lease's length: says that the worker is alive, renews every registered attempt's lease."""

    def __init__(self, db: Queue, lease: float, announce: Callable[[], None]) -> None:
        super().__init__(name="lease", daemon=True)
        self.db, self.lease, self.announce = db, lease, announce
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
        while not self._ending.wait(self.lease / 3):
            with self._lock:
                attempts = list(self._attempts.values())
            # An unreachable server is no loss yet: the next round tries again.
            for attempt in attempts:
                with contextlib.suppress(DriverError):
                    self._renew(attempt)
            with contextlib.suppress(DriverError):
                self.announce()

    def stop(self) -> None:
        self._ending.set()

    def _renew(self, attempt: Attempt) -> None:
        if not runs.renew(self.db, attempt.name, attempt.token, self.lease, attempt.news()):
            with self._lock:
                still_ours = attempt.token in self._attempts
            if still_ours:
                attempt.stop(Stopped("it was cancelled, or its lease was taken"))

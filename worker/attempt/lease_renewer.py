"""Renews the leases of this worker's runs, from a thread of the worker's own process.

It runs no stage code, so a stage that holds its own interpreter for minutes loses nothing. A run whose token is
no longer ours is stopped: somebody else has it, or it was cancelled.
"""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from repro.scheduler import runs
from repro.scheduler.server.connection import DriverError, Queue, is_later
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import Stopped
from repro.worker.watched_thread import WatchedThread


class LeaseRenewer(WatchedThread):
    """Renews every registered attempt's lease, each third of its length.

    It does nothing else, and each renewal has a connection of its own: a reply that does not come delays no other.
    """

    def __init__(self, db: Queue, lease: float) -> None:
        super().__init__(name="lease", daemon=True)
        self.db, self.lease = db, lease
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._ending = False
        self._due_now = threading.Event()

    def add(self, attempt: Attempt) -> None:
        """One whose claim took long, as when its reply was lost, is renewed at once."""
        with self._lock:
            self._attempts[attempt.token] = attempt
        if time.monotonic() - attempt.asked_at > self.lease / 3:
            self._due_now.set()

    def remove(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempts.pop(attempt.token, None)

    def attempts(self) -> list[Attempt]:
        with self._lock:
            return list(self._attempts.values())

    def work(self) -> None:
        due = time.monotonic() + self.lease / 3
        with ThreadPoolExecutor(thread_name_prefix="lease") as threads:
            while True:
                self._due_now.wait(max(0.0, due - time.monotonic()))
                if self._ending:
                    return
                self._due_now.clear()
                due = time.monotonic() + self.lease / 3
                list(threads.map(self._renew, self.attempts()))

    def stop(self) -> None:
        self._ending = True
        self._due_now.set()

    def _renew(self, attempt: Attempt) -> None:
        with contextlib.suppress(DriverError):  # an unreachable server is no loss yet: the next round tries again
            if not self._renewed(attempt):
                with self._lock:
                    is_still_ours = attempt.token in self._attempts
                if is_still_ours:
                    attempt.stop(Stopped("it was cancelled, or its lease was taken"))

    def _renewed(self, attempt: Attempt) -> bool:
        """The lease matters more than the news: what of them can't be told costs no lease."""
        try:
            return runs.renew(self.db, attempt.name, attempt.token, self.lease, attempt.news())
        except Exception as error:
            if isinstance(error, DriverError) and is_later(error):
                raise
            return runs.renew(self.db, attempt.name, attempt.token, self.lease)

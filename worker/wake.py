"""Wakes an idle worker when a run becomes pending: through a change stream, where the server has them."""

import contextlib
import queue
import random
import threading

from scheduler import queries
from scheduler.mongo import DriverError, Queue

SPREAD = 0.02  # seconds over which the workers that one event wakes spread their claims
RETRY = 2.0  # seconds until the next try for a stream that broke or that the server does not have


class Bell:
    """An event that a signal handler may set too: its thread can't find a lock held, as with `threading.Event`."""

    def __init__(self) -> None:
        self._rings = queue.SimpleQueue[None]()

    def set(self) -> None:
        self._rings.put(None)

    def wait(self, seconds: float) -> bool:
        """Whether it rang in time."""
        with contextlib.suppress(queue.Empty):
            self._rings.get(timeout=seconds)
            return True
        return False

    def clear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()


class Waker(threading.Thread):
    """Sets an event at every news. The worker's own polls find what it misses."""

    def __init__(self, db: Queue, woken: Bell) -> None:
        super().__init__(name="wake", daemon=True)
        self.db, self.woken = db, woken
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(random.uniform(0, RETRY / 100)):
            try:
                for _ in queries.pending_news(self.db, self._ending):
                    self._ending.wait(random.uniform(0, SPREAD))
                    self.woken.set()
            except DriverError:
                self._ending.wait(RETRY)

    def stop(self) -> None:
        self._ending.set()

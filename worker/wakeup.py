"""Wakes an idle worker when a run becomes pending: through a change stream, where the server has them."""

import contextlib
import queue
import threading
import time

from repro.scheduler.queue import claims
from repro.scheduler.server.connection import DriverError, Queue
from repro.worker.polling import PollingRates

RETRY = 2.0  # seconds until the next try for a stream that broke or that the server does not have


class Bell:
    """An event that a signal handler may set too: its thread can't find a lock held, as with `threading.Event`."""

    def __init__(self) -> None:
        self._rings = queue.SimpleQueue[None]()

    def set(self) -> None:
        self._rings.put(None)

    def wait(self, seconds: float) -> bool:
        """True if it rang, False if the time has passed."""
        try:
            self._rings.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def clear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()


class Waker(threading.Thread):
    """Rings the bell at all news of runs, while its worker wants some. The worker's own polls find what it misses.

    Each stream costs the server work for everything that is written, so a busy worker has none.
    """

    def __init__(self, db: Queue, bell: Bell, rates: PollingRates) -> None:
        super().__init__(name="wake", daemon=True)
        self.db, self.bell, self.rates = db, bell, rates
        self._wanted = threading.Event()
        self._until = 0.0
        self._ending = False

    def listen(self, seconds: float) -> None:
        """Follow the news for so long from now."""
        self._until = time.monotonic() + seconds
        self._wanted.set()

    def run(self) -> None:
        while not self._ending:
            self._wanted.wait()
            self._wanted.clear()
            if not self._is_over():
                self._follow()

    def stop(self) -> None:
        self._ending = True
        self._wanted.set()

    def _follow(self) -> None:
        try:
            for _ in claims.pending_news(self.db, self._is_over):
                self.bell.set()
        except DriverError:
            time.sleep(RETRY)
            self._wanted.set()

    def _is_over(self) -> bool:
        return self._ending or time.monotonic() > self._until or not self.rates.follows_news

"""Word that something of the queue has changed: a hint for who looks at it, never a promise."""

import time
from collections.abc import Callable, Iterator

from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import DriverError, Queue

SOONEST = 1.0  # seconds between two words, however much happens
AWAIT_MS = 500  # how long the server holds a question for news that it has no answer to
POLL = 2.0  # where the server has no change streams


def changes(db: Queue, over: Callable[[], bool]) -> Iterator[None]:
    """Yields at once, and after changes of runs, until it is `over`; at most a word a second.

    A standalone server tells of no changes, and a server may be away: then it yields every few seconds.
    """
    while not over():
        try:
            yield from _told(db, over)
        except DriverError:
            yield
            time.sleep(POLL)


def _told(db: Queue, over: Callable[[], bool]) -> Iterator[None]:
    with collection(db).watch([{"$project": {"_id": 1}}], max_await_time_ms=AWAIT_MS, batch_size=1000) as stream:
        yield
        soonest, untold = time.monotonic() + SOONEST, False
        while not over():
            untold |= stream.try_next() is not None
            if untold and time.monotonic() >= soonest:
                yield
                soonest, untold = time.monotonic() + SOONEST, False

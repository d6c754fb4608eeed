"""Searches go on in a thread of every worker: a proposal takes milliseconds in which it would claim nothing."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from repro.scheduler.queue import searches
from repro.scheduler.server.connection import Queue, reachable
from repro.stages.errors import ReproError
from repro.stages.plain import clean
from repro.worker.attempt.attempt import Attempt
from repro.worker.live.console import Console

LONGEST = 200  # characters


class Searcher:
    """Takes searches further. What fails here, or dies with its worker, is done by whoever heals next."""

    def __init__(self, db: Queue, console: Console) -> None:
        self.db, self.console = db, console
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._last: Future[None] | None = None
        self._is_to_look = False
        self._said = set[tuple[str, str]]()  # each only once: it may be so for hours

    def ended(self, attempt: Attempt) -> None:
        """A run has ended: one of a search, or one that a search may have waited for."""
        if search := attempt.run.get("search"):
            self._last = self._threads.submit(self._advance, [search])
        elif attempt.released:
            self._last = self._threads.submit(self._begin, attempt.name)

    def look(self) -> None:
        """For those that nobody has taken further; asked while that is being done, it is done once more."""
        if not self._is_to_look:
            self._is_to_look = True
            self._last = self._threads.submit(self._look)

    def wait(self) -> None:
        """Until all that was asked for has been done."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, source: str) -> None:
        with self._told("searches"):
            self._advance(searches.begun_by(self.db, source))

    def _look(self) -> None:
        self._is_to_look = False
        with self._told("searches"):
            self._advance(searches.due(self.db))

    def _advance(self, names: list[str]) -> None:
        for name in names:
            with self._told(name):
                searches.advance(self.db, name)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What goes wrong is said: a worker without the rights for it would let a search stand still in silence."""
        try:
            with reachable():
                yield
        except ReproError as error:
            kind = name, type(error).__name__  # MongoDB's own words have a time in them
            if kind not in self._said:
                self._said.add(kind)
                self.console.say(f"{name}: does not go on from here: {clean(str(error), LONGEST)}")

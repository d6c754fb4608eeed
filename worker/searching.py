"""Searches go on in a thread of every worker: a proposal takes milliseconds in which it would claim nothing."""

from concurrent.futures import Future, ThreadPoolExecutor

from repro.scheduler.queue import searches
from repro.scheduler.server.connection import DriverError, Queue
from repro.stages.errors import ReproError
from repro.worker.attempt.attempt import Attempt
from repro.worker.live.console import Console


class Searcher:
    """Takes searches further. What fails here, or dies with its worker, is done by whoever heals next."""

    def __init__(self, db: Queue, console: Console) -> None:
        self.db, self.console = db, console
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._last: Future[None] | None = None
        self._is_to_look = False

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
        self._advance(searches.begun_by(self.db, source))

    def _look(self) -> None:
        self._is_to_look = False
        try:
            due = searches.due(self.db)
        except DriverError:
            return  # the loop says that MongoDB is away
        self._advance(due)

    def _advance(self, names: list[str]) -> None:
        for name in names:
            try:
                searches.advance(self.db, name)
            except DriverError:
                return
            except ReproError as error:
                self.console.say(f"{name}: the search can't go on here: {error}")

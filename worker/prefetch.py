"""While a run computes, the inputs of the run that would be claimed next come to this machine."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from repro.scheduler.queue import claims, lineage
from repro.scheduler.runs import Lack, RunDocument
from repro.scheduler.server.connection import Queue
from repro.stages.errors import ReproError
from repro.worker.store.outputs import outputs_of
from repro.worker.store.store import Store

EVERY = 2.0  # seconds between two looks at the queue


class Prefetcher:
    """Looks at times which run is next in line, and pulls its inputs without claiming it; a hint only."""

    def __init__(self, db: Queue, store: Store) -> None:
        self.db, self.store = db, store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._pulling: Future[None] | None = None
        self._look_at = 0.0
        self._last: str | None = None

    def another_is_next(self) -> None:
        """A run was claimed: look again soon."""
        self._look_at = 0.0

    def prefetch_if_due(self, gpus: Sequence[int], lacks: Sequence[Lack] = (), met: Sequence[str] = ()) -> None:
        """`gpus`: the GPU counts of runs that may be claimed here. Returns at once but for one question to the queue.

        Raises:
            DriverError: MongoDB is away.
        """
        is_busy = self._pulling is not None and not self._pulling.done()
        if not self.store.is_remote or is_busy or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + EVERY
        first = claims.first_in_line(self.db, gpus, lacks, met)
        if first is not None and first["_id"] != self._last:
            self._last = first["_id"]
            self._pulling = self._thread.submit(self._pull, lineage.sources(self.db, first))

    def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _pull(self, sources: dict[str, RunDocument]) -> None:
        try:
            for source in sources.values():
                self.store.prefetch(outputs_of(self.store, source), source["location"])
        except (OSError, ReproError):
            self._last = None  # the run itself will say what is wrong, if it still is

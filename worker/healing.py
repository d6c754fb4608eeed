"""What a worker that died has left undone is done by any other: expired leases, children that nobody released, searches
that nobody has taken further."""

import time

from repro.scheduler import runs
from repro.scheduler.queue import lineage
from repro.scheduler.server.connection import Queue
from repro.worker.live.console import Console
from repro.worker.polling import PollingRates
from repro.worker.searching import Searcher


class Healer:
    """Looks at times for what dead workers left; `lease`: the length of this worker's own leases, in seconds."""

    def __init__(self, db: Queue, lease: float, rates: PollingRates, console: Console, searcher: Searcher) -> None:
        self.db, self.lease, self.rates, self.console, self.searcher = db, lease, rates, console, searcher
        self._healed_at = 0.0

    def heal_if_due(self) -> None:
        if time.monotonic() - self._healed_at >= self.rates.healing_interval():
            self._healed_at = time.monotonic()
            self.heal()

    def heal(self) -> None:
        runs.shorten_waits(self.db, self.lease)
        if expired := runs.expire(self.db):
            self.console.expired(expired)
        runs.release_children(self.db, lineage.ready_sources(self.db))
        self.searcher.look()

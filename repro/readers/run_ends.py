"""Waiting for runs: each as it ends."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

POLL = 0.3  # seconds
UNDECIDED = ("waiting", "pending", "running")
GOOD = ("done", "verified")


def as_they_end(db: "Queue", names: Sequence[str], timeout: float | None = None) -> "Iterator[RunDocument]":
    """Yield the run documents in the order in which the runs end; one that can never start counts as ended.

    Raises:
        RunFailed: after the last one, if a run did not end well; or at once, if they did not end in time.
    """
    from repro.scheduler.queue import lineage, lookup
    from repro.stages.errors import RunFailed

    lookup.runs(db, names)  # refuses names that do not exist
    give_up = time.monotonic() + timeout if timeout is not None else None
    remaining, bad = list(names), list[str]()
    while remaining:
        states = lookup.unfinished(db, remaining) | lineage.blocked(db, remaining)
        for name in [name for name in remaining if states.get(name) not in UNDECIDED]:
            remaining.remove(name)
            run = lookup.run(db, name)
            bad += [] if run["state"] in GOOD else [name]
            yield run
        if give_up is not None and time.monotonic() > give_up and remaining:
            raise RunFailed(f"still not ended after {timeout:g} s: {', '.join(remaining)}")
        if remaining:
            time.sleep(POLL)
    if bad:
        raise RunFailed(f"did not end well: {', '.join(bad)}; see repro show {bad[0]}")

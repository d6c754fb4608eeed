"""What is claimed next, and for which runs workers keep cards free."""

from typing import TYPE_CHECKING, Any

from repro.scheduler.lists import listing
from repro.scheduler.queue import claims
from repro.scheduler.server.connection import server_time

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

FIRST = 100  # runs


def view(db: "Queue") -> dict[str, Any]:
    """`runs` in the order of claims, with `why` each does not run yet; `counts`, `now`."""
    line = claims.line(db, FIRST)
    reasons = listing.why_waiting(db, line)
    return {
        "now": server_time(db),
        "counts": listing.counts(db),
        "runs": [run | {"why": reasons.get(run["_id"])} for run in line],
        "first": FIRST,
    }

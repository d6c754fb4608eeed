"""A run's attempts in time: what it waited for, where each ran, why it ended, how far it came."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from repro.scheduler.lists import listing
from repro.scheduler.lists.timeline import timeline
from repro.scheduler.queue import lookup
from repro.scheduler.server.connection import server_time

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

FIELDS = dict.fromkeys(
    (
        *("state", "stage", "history", "attempts", "max_attempts", "progress", "cards", "lease", "started_at", "held"),
        *("waiting_for", "not_before", "gpus", "needs", "code", "checkpoint", "put_off", "submitted_at"),
    ),
    1,
)


def view(db: "Queue", name: str) -> dict[str, Any]:
    """`run` (some fields), `attempts`, `events`, `forgotten`, `why` it waits, `now`.

    Raises:
        ReproError: there is no such run.
    """
    (run,) = lookup.runs(db, [name], FIELDS)
    found = timeline(run)
    return {
        "now": server_time(db),
        "run": {key: value for key, value in run.items() if key != "history"},
        "why": listing.why_waiting(db, [run]).get(name),
        **asdict(found),
    }

"""The queue at a glance: what runs, what waits and why, what has failed, who works."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repro.pages import searches
from repro.scheduler.lists import listing, pages, waiting_groups
from repro.scheduler.lists.listing import Only
from repro.scheduler.queue import workers
from repro.scheduler.runs import State
from repro.scheduler.server.connection import server_time
from repro.views import worker_table

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

MOST_RUNNING, LATEST_FAILURES, MOST_KINDS = 50, 200, 8
OF_A_RUNNING_RUN = ("stage", "state", "started_at", "progress", "telemetry", "cards", "lease", "attempts", "gpus")


def view(db: "Queue") -> dict[str, Any]:
    """`counts`, `running`, `searches` (those under way), `waiting`, `failures`, `workers`, `shared_cards`, `now`."""
    now = server_time(db)
    running = pages.page(db, Only([State.RUNNING]), limit=MOST_RUNNING, fields=OF_A_RUNNING_RUN)
    return {
        "now": now,
        "counts": listing.counts(db),
        "running": running.rows,
        "more_running": running.after is not None,
        "waiting": [vars(group) for group in waiting_groups.groups(db)],
        "searches": searches.under_way(db),
        "failures": failures(db),
        "workers": [worker_table.facts(worker, now) for worker in workers.live(db)],
        "shared_cards": workers.sharing(db),
    }


def failures(db: "Queue") -> list[dict[str, Any]]:
    """The newest failures by kind: how many of the latest, the newest of them and what it said."""
    fields = ("stage", "error", "finished_at")
    latest: Sequence[RunDocument] = pages.page(db, Only([State.FAILED]), limit=LATEST_FAILURES, fields=fields).rows
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for run in latest:
        error = run.get("error") or {}
        key = (run["stage"], str(error.get("type", "")))
        newest = {"message": error.get("message", ""), "name": run["_id"], "finished_at": run.get("finished_at")}
        kind = kinds.setdefault(key, {"stage": key[0], "type": key[1], "count": 0, **newest})
        kind["count"] += 1
    return list(kinds.values())[:MOST_KINDS]

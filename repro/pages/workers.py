"""Who works: cards, places, versions, where they differ from the others', what each runs."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from repro.scheduler.lists import pages
from repro.scheduler.lists.listing import Only
from repro.scheduler.queue import workers
from repro.scheduler.runs import State
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ReproError
from repro.stages.plain import clean
from repro.views import worker_table

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

MIXED = ("torch", "python", "repro")  # versions in which a fleet should be of one mind
MOST = 500  # runs
FIELDS = ("lease", "stage", "progress", "cards")


def view(db: "Queue") -> dict[str, Any]:
    """`workers` (as `repro workers --json`, with what each `runs`), `mixed` (fact -> how many have which), `now`."""
    now = server_time(db)
    alive = sorted(workers.live(db), key=lambda worker: str(worker["_id"]))
    running: dict[str, list[str]] = {}
    for run in pages.page(db, Only([State.RUNNING]), limit=MOST, fields=FIELDS).rows:
        running.setdefault(run["lease"]["worker"], []).append(run["_id"])
    facts = [worker_table.facts(worker, now) | {"runs": running.get(worker["_id"], [])} for worker in alive]
    return {"now": now, "workers": facts, "mixed": _mixed(facts), "shared_cards": workers.sharing(db)}


def one(db: "Queue", name: str) -> dict[str, Any]:
    """`worker`, as in `view`.

    Raises:
        ReproError: it is not alive.
    """
    found = next((worker for worker in view(db)["workers"] if worker["name"] == name), None)
    if found is None:
        raise ReproError(f"no such worker is alive: {clean(name, 100)}")
    return {"worker": found}


def _mixed(facts: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of the versions those that are not the same everywhere, the commonest first."""
    counted = {key: Counter(str((one["has"] or {}).get(key)) for one in facts) for key in MIXED}
    counted["code"] = Counter(str(one["code"]) for one in facts)
    return {key: dict(counts.most_common()) for key, counts in counted.items() if len(counts) > 1}

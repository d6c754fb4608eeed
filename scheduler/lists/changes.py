"""What users do to runs, by their names or to all that a filter lets through, and what came of it.

The changes themselves are transitions of `repro.scheduler.runs`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from repro.scheduler import runs
from repro.scheduler.lists.listing import Only
from repro.scheduler.queue import lineage, lookup, searches
from repro.scheduler.runs import RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search.search_config import STAGE as SEARCH
from repro.scheduler.server.connection import Document, Queue, server_time


@dataclass(frozen=True)
class Verb:
    """Something that a user does to runs.

    Attributes:
        done: what runs are then, for messages.
        states: those that it is for.
        change: the transition of one run: (db, name, by=).
        change_all: that of many, in one update: (db, guard, by=); None where each has a cost or a condition of its own.
    """

    name: str
    done: str
    states: Sequence[State]
    change: Callable[..., RunDocument | None]
    change_all: Callable[..., int] | None = None


MOST = 10_000  # runs whose cost is counted
CANCEL = Verb("cancel", "cancelled", runs.LIVE, runs.cancel, runs.cancel_all)
RETRY = Verb("retry", "retried", runs.RETRIABLE, runs.retry)
HOLD = Verb("hold", "held", runs.QUEUED, runs.hold, runs.hold_all)
UNHOLD = Verb("unhold", "unheld", runs.QUEUED, runs.unhold, runs.unhold_all)


def priority(number: int) -> Verb:
    one, all_ = partial(runs.set_priority, priority=number), partial(runs.set_priority_of_all, priority=number)
    return Verb("priority", "given a priority", runs.QUEUED, one, all_)


@dataclass(frozen=True)
class Changed:
    """What came of one run: how it stands now; or why it was refused, None if it was not."""

    name: str
    state: str
    run: RunDocument | None
    refused: str | None = None

    def __str__(self) -> str:
        """The state and, while nobody has claimed it, what claims go by."""
        if self.run is None or self.state not in (State.WAITING, State.PENDING):
            return f"{self.name}: {self.refused or self.state}"
        held, number = ", held" if self.run["held"] is True else "", self.run["priority"]
        return f"{self.name}: {self.state}{held}" + (f", priority {number}" if number else "")


def change(db: Queue, verb: Verb, names: Sequence[str], by: str, chain: bool = False) -> Iterator[Changed]:
    """Change each of these runs, and tell of each as soon as it is done.

    With `chain`, the sources and children of the runs that have not ended are changed, too, and first.

    Raises:
        ReproError: a name does not exist; nothing was changed.
    """
    lookup.runs(db, names, {"_id": 1})
    line = lineage.chain(db, names) if chain else []
    for name in dict.fromkeys([*line, *names, *_of_searches(db, verb, names)]):
        while not (run := verb.change(db, name, by=by)):
            state = lookup.run(db, name)["state"]
            if state not in verb.states:
                only = f"only {_either(verb.states)} runs can be {verb.done}"
                yield Changed(name, state, None, f"is {state}; {only}")
                break
            # It came into a fitting state between the two: once more.
        else:
            yield Changed(name, run["state"], run)


def _of_searches(db: Queue, verb: Verb, names: Sequence[str]) -> list[str]:
    """The runs of the searches among these that are cancelled with them, or come back with them."""
    states = {CANCEL.name: runs.LIVE, RETRY.name: (State.CANCELLED,)}.get(verb.name)
    return searches.runs_of(db, names, states) if states else []


def change_all(db: Queue, verb: Verb, only: Only, by: str) -> int:
    """Change all that a filter lets through and whose state allows it; returns how many there were.

    In one update, each run guarded by the filter: what has left it in the meantime is left alone.
    """
    guard = _fitting(verb, only)
    if verb.change_all is not None:
        cancelled = _searches(db, only) if verb.name == CANCEL.name else []
        count = verb.change_all(db, guard, by=by)
        return count + sum(runs.cancel(db, name, by) is not None for name in searches.runs_of(db, cancelled, runs.LIVE))
    return sum(verb.change(db, run["_id"], by=by) is not None for run in lookup.matching(db, guard, ["_id"]))


def count(db: Queue, verb: Verb, only: Only) -> int:
    """How many runs `change_all` would change now."""
    return collection(db).count_documents(_fitting(verb, only))


def some(db: Queue, verb: Verb, only: Only, limit: int) -> list[str]:
    """The names of some of them, sorted."""
    return [run["_id"] for run in collection(db).find(_fitting(verb, only), {"_id": 1}).sort("_id").limit(limit)]


def cost(db: Queue, only: Only) -> dict[str, Any]:
    """What a cancel of all that a filter lets through would lose.

    `running` runs, the `seconds` that they have run in this attempt, times their cards where they have some in
    `card_seconds`, `oldest_checkpoint` (None if one of them has none), and how many runs are `waiting` for one of them.
    """
    fields = {"started_at": 1, "cards": 1, "checkpoint": 1}
    guard = {
        "$and": [{"state": State.RUNNING.value}, {"$or": [only.guard(), {"search": {"$in": _searches(db, only)}}]}]
    }
    running = list(collection(db).find(guard, fields).limit(MOST))
    now = server_time(db)
    spent = [((now - run["started_at"]).total_seconds(), len(run.get("cards") or ())) for run in running]
    saved = [(run.get("checkpoint") or {}).get("at") for run in running]
    names = [run["_id"] for run in collection(db).find(_fitting(CANCEL, only), {"_id": 1}).limit(MOST)]
    waiting = {"state": State.WAITING.value, "waiting_for": {"$in": names}, "_id": {"$nin": names}}
    return {
        "running": len(running),
        "seconds": sum(seconds for seconds, _ in spent),
        "card_seconds": sum(seconds * cards for seconds, cards in spent),
        "oldest_checkpoint": None if None in saved or not saved else min(at for at in saved if at),
        "waiting": collection(db).count_documents(waiting),
    }


def _searches(db: Queue, only: Only) -> list[str]:
    """The searches under way of those runs: a cancel of one is one of its runs."""
    guard = {"$and": [{"state": State.WAITING.value, "stage": SEARCH}, only.guard()]}
    return [run["_id"] for run in collection(db).find(guard, {"_id": 1}).limit(MOST)]


def _fitting(verb: Verb, only: Only) -> Document:
    states = [state for state in verb.states if not only.states or state in only.states]
    return {"$and": [{"state": {"$in": states}}, only.guard()]}


def _either(states: Sequence[State]) -> str:
    *others, last = states
    return f"{', '.join(others)} or {last}"

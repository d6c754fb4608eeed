"""The queue at a glance, for `repro status`: how many runs in which state, the newest of them, why each waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from repro.scheduler.lists.filters import Condition
from repro.scheduler.lists.waiting import Facts, reason
from repro.scheduler.queue import claims, lookup, workers
from repro.scheduler.runs import FINAL, RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Document, Queue, server_time
from repro.stages.errors import ConfigError

STATES = [state.value for state in State]
MANY = 100_000  # runs from which the done ones are not counted one by one
HIDDEN = {"outputs": 0, "params": 0, "environment": 0, "history": 0, "config": 0}
MOST_BELOW = 5  # runs of a search that are shown below it
FAILURES = 5  # rows of a listing that are kept for the newest failures


def counts(db: Queue) -> dict[str, int]:
    """How many runs there are in each state that has any.

    Each count walks its part of an index. Of a long history what is done is told by what is left of all, which is
    known without counting and may be off by those that are being inserted.
    """
    total = collection(db).estimated_document_count()
    exact = STATES if total < MANY else [state for state in STATES if state != State.DONE]
    counted = {state: collection(db).count_documents({"state": state}) for state in exact}
    counted.setdefault(State.DONE.value, max(0, total - sum(counted.values())))
    return {state: counted[state] for state in STATES if counted[state]}


def check_states(states: Sequence[str], said: str = "state") -> None:
    """
    Raises:
        ConfigError: one is none.
    """
    if wrong := [state for state in states if state not in STATES]:
        raise ConfigError(f"{said} {wrong[0]}: the states are {', '.join(STATES)}")


@dataclass(frozen=True)
class Only:
    """What a listing is to have; an empty field lets everything through."""

    states: Sequence[str] = ()
    stages: Sequence[str] = ()
    tags: Sequence[str] = ()
    patterns: Sequence[str] = ()
    where: Sequence[Condition] = ()
    until: datetime | None = None  # not submitted later: for who has looked at a list, and means that list

    def guard(self) -> Document:
        """The filter; the states are not in it, for each is asked for by itself."""
        guard: Document = {"stage": {"$in": list(self.stages)}} if self.stages else {}
        if self.until:
            guard["submitted_at"] = {"$lte": self.until}
        if self.tags:
            guard |= {"tags": {"$all": list(self.tags)}, "tags.0": {"$exists": True}}  # as its index has it
        if self.patterns:
            exact = [word for word in self.patterns if not lookup.is_pattern(word)]
            guard["$or"] = [{"_id": {"$in": exact}}] if exact else []
            patterns = (lookup.as_expression(word) for word in self.patterns if lookup.is_pattern(word))
            guard["$or"] += [{"_id": {"$regex": pattern}} for pattern in patterns]
        return {"$and": [guard, *(one.guard() for one in self.where)]} if self.where else guard


def newest(db: Queue, only: Only | None = None, limit: int = 20) -> list[RunDocument]:
    """The newest runs first, without the parts that a table has no room for.

    Running runs come first, then what is to run, then what failed, then the rest. A few of the places are kept for the
    newest failures, which a long queue must not hide.
    """
    only = only or Only()
    by_state: dict[str, list[RunDocument]] = {}
    for state in only.states or STATES:
        order = "finished_at" if state in FINAL else "submitted_at"
        guard = {"state": state} | only.guard()
        by_state[state] = list(collection(db).find(guard, HIDDEN).sort(order, -1).limit(limit))
    room = limit - min(FAILURES, len(by_state.get(State.FAILED, ())))
    live = [run for state in (State.RUNNING, State.PENDING, State.WAITING) for run in by_state.get(state, ())][:room]
    ended = [
        run for state in (State.FAILED, State.CANCELLED, State.DONE, State.VERIFIED) for run in by_state.get(state, ())
    ]
    return (live + ended)[:limit]


def grouped(db: Queue, listed: Sequence[RunDocument], limit: int) -> list[RunDocument]:
    """The same rows with the runs of a search directly below it, a few of them, where the first of all these stood."""
    below: dict[str, list[RunDocument]] = {}
    for run in listed:
        if "search" in run:
            below.setdefault(run["search"], []).append(run)
    searches = {run["_id"]: run for run in collection(db).find({"_id": {"$in": list(below)}}, HIDDEN)} if below else {}
    rows: dict[str, list[RunDocument]] = {}
    for run in listed:
        head = run["search"] if run.get("search") in searches else run["_id"]
        if head not in rows:
            rows[head] = [searches[head], *below[head][:MOST_BELOW]] if head in searches else [run]
    return [run for group in rows.values() for run in group][:limit]


def why_waiting(db: Queue, runs: Iterable[RunDocument]) -> dict[str, str]:
    """For each waiting or pending run, in a few words, why it does not run yet."""
    waiting = [run for run in runs if run["state"] in (State.WAITING, State.PENDING)]
    if not waiting:
        return {}
    facts = facts_of(db, waiting)
    if any(worker.get("lacks") for worker in facts.workers):  # then the configs are needed, too
        whole = {run["_id"]: run for run in lookup.runs(db, [run["_id"] for run in waiting], {"config": 1})}
        waiting = [run | {"config": whole[run["_id"]]["config"]} for run in waiting if run["_id"] in whole]
    return {run["_id"]: reason(run, facts) for run in waiting}


def facts_of(db: Queue, waiting: Sequence[RunDocument]) -> Facts:
    """What the reasons of these runs follow from."""
    sources = list({source for run in waiting for source in run["waiting_for"]})
    states = lookup.states(db, sources) if sources else {}
    needs = {(run["gpus"], run.get("needs", "")) for run in waiting if run["state"] == State.PENDING}
    in_line = {(gpus, met): claims.first_in_line(db, [gpus], met=[met] if met else []) for gpus, met in needs}
    first = {need: run["_id"] for need, run in in_line.items() if run}
    return Facts(server_time(db), states, workers.live(db), first)

"""Sources and children of runs: what a run reads, all that it comes from, the whole chain it stands in."""

from collections.abc import Iterable, Mapping, Sequence

from repro.scheduler.queue import lookup
from repro.scheduler.runs import LIVE, RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Document, Queue


def sources(db: Queue, run: RunDocument) -> dict[str, RunDocument]:
    """Name -> document of those of a run's sources that exist; a rerun reads them where its original did."""
    names = run["sources"]
    by_name = {source["_id"]: source for source in collection(db).find({"_id": {"$in": names}})} if names else {}
    for name, location in run.get("inputs", {}).items():
        if name in by_name:
            # The manifest there tells what lies there, not this document.
            by_name[name].pop("outputs", None)
            by_name[name]["location"] = location
    return by_name


def shorter(db: Queue, run: RunDocument) -> list[str]:
    """Where the results lie of which this run of a search is the continuation, the longest first."""
    if "search" not in run:
        return []
    guard = {"search": run["search"], "trial": run["trial"], "state": State.DONE.value}
    guard["rung"] = {"$type": "number"} if run.get("rung") is None else {"$lt": run["rung"]}
    return [one["location"] for one in collection(db).find(guard, {"location": 1}).sort("rung", -1)]


def ancestors(db: Queue, run: RunDocument) -> dict[str, RunDocument]:
    """Name -> document of all that a run comes from."""
    by_name: dict[str, RunDocument] = {}
    wanted = set(run["sources"])
    while wanted:
        above = {source["_id"]: source for source in collection(db).find({"_id": {"$in": sorted(wanted)}})}
        by_name |= above
        wanted = {name for source in above.values() for name in source["sources"]} - by_name.keys()
    return by_name


def children(db: Queue, name: str, limit: int) -> list[RunDocument]:
    """Some of the runs that read this one: name, stage and state, those that are done first."""
    found: list[RunDocument] = []
    for state in (State.DONE, *(state for state in State if state != State.DONE)):
        guard = {"state": state.value, "sources": name}
        fields = {"stage": 1, "state": 1, "location": 1}
        found += collection(db).find(guard, fields).sort("_id").limit(limit - len(found)) if len(found) < limit else []
    return found


def descendants(db: Queue, name: str, limit: int) -> list[tuple[RunDocument, int]]:
    """Runs that were, or will be, made of this one, and of those in turn, with how many steps away they are.

    Each once, the nearest first.
    """
    fields = {"stage": 1, "state": 1, "sources": 1, "location": 1, "finished_at": 1}
    found: dict[str, tuple[RunDocument, int]] = {}
    parents, depth = [name], 1
    while parents and len(found) < limit:
        level: list[RunDocument] = []
        for state in State:
            guard = {"state": state.value, "sources": {"$in": parents}}
            level += collection(db).find(guard, fields).sort("_id").limit(limit - len(found))
        fresh = {run["_id"]: (run, depth) for run in level if run["_id"] not in found and run["_id"] != name}
        found |= fresh
        parents, depth = list(fresh), depth + 1
    return list(found.values())[:limit]


def ready_sources(db: Queue) -> list[str]:
    """Done runs that some waiting run still waits for: their releaser died in between."""
    names = collection(db).distinct("waiting_for", {"state": State.WAITING.value})
    if not names:
        return []
    guard = {"_id": {"$in": names}, "state": State.DONE.value}
    return [source["_id"] for source in collection(db).find(guard, {"_id": 1})]


def blocked(db: Queue, names: Sequence[str]) -> dict[str, str]:
    """Name -> `"blocked"` of those waiting runs that can't start: a source up the line failed or was cancelled."""
    above = _waited_for(db, names)
    below: dict[str, list[str]] = {}
    for name, run in above.items():
        for source in run["waiting_for"] if run["state"] == State.WAITING else ():
            below.setdefault(source, []).append(name)
    # What a waiting run waits for and is not there is gone for good.
    dead = [name for name in below if name not in above or above[name]["state"] in (State.FAILED, State.CANCELLED)]
    stuck = set(_reached(dead, below)) - set(dead)
    return {name: "blocked" for name in names if name in stuck}


def _waited_for(db: Queue, names: Sequence[str]) -> dict[str, RunDocument]:
    """State and `waiting_for` of these runs and of all that they wait for, through others, level by level."""
    known: dict[str, RunDocument] = {}
    wanted = set(names)
    while wanted:
        found = collection(db).find({"_id": {"$in": sorted(wanted)}}, {"state": 1, "waiting_for": 1})
        level = {run["_id"]: run for run in found}
        known |= level
        waited_for = {n for run in level.values() if run["state"] == State.WAITING for n in run["waiting_for"]}
        wanted = waited_for - known.keys() - wanted
    return known


def chain(db: Queue, names: Sequence[str]) -> list[str]:
    """The runs not ended that lead to these or come from them, through ended ones too; the last children first.

    There is no index from a run to its children, for its writes would cost every submit: they are found from the
    live runs' side, up the line.
    """
    parents = _lines_up(db, names)
    children: dict[str, list[str]] = {}
    for name, above in parents.items():
        for source in above:
            children.setdefault(source, []).append(name)
    line = [*reversed(_reached(names, children)), *_reached(names, parents)]
    live = lookup.unfinished(db, line)
    return [name for name in dict.fromkeys(line) if name in live]


def _lines_up(db: Queue, names: Sequence[str]) -> dict[str, list[str]]:
    """Name -> sources of these runs, of every live run and of all that they come from."""
    known: dict[str, list[str]] = {}
    guard: Document = {"$or": [{"state": {"$in": [s.value for s in LIVE]}}, {"_id": {"$in": list(names)}}]}
    while more := {run["_id"]: run["sources"] for run in collection(db).find(guard, {"sources": 1})}:
        known |= more
        guard = {"_id": {"$in": list({source for above in more.values() for source in above} - known.keys())}}
    return known


def _reached(names: Iterable[str], edges: Mapping[str, Sequence[str]]) -> list[str]:
    """These and all that can be reached from them, each once, the nearest first."""
    reached = dict.fromkeys(names)
    waiting = list(reached)
    for name in waiting:
        fresh = [other for other in edges.get(name, ()) if other not in reached]
        reached |= dict.fromkeys(fresh)
        waiting += fresh
    return list(reached)

"""What the audits of results (`worker/audit`) ask of the queue: rerun, rebuild, gc, drifted defaults."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from repro.scheduler import runs
from repro.scheduler.runs import RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search.search_config import STAGE as SEARCH
from repro.scheduler.server.connection import Document, Queue


def is_empty(db: Queue) -> bool:
    """Whether the queue has no run at all, as after the loss of its database."""
    return collection(db).find_one({}, {"_id": 1}) is None


def references(db: Queue, name: str | None = None) -> Iterator[RunDocument]:
    """Every run's document, or one run's, without the parts that can't name a place in the store."""
    hidden = {"params": 0, "environment": 0, "history": 0, "metrics": 0}
    yield from collection(db).find({} if name is None else {"_id": name}, hidden)


def tokens(db: Queue, name: str) -> list[str]:
    """The tokens of a run's attempts, the first one first; none where there is no such run."""
    found = collection(db).find_one({"_id": name}, {"history": 1})
    return runs.tokens(found) if found else []


def results(
    db: Queue, names: Sequence[str] = (), stage: str | None = None, sample: int | None = None
) -> list[RunDocument]:
    """What a rerun must know of the done runs of these names, or of all that were computed, or of a stage's.

    `sample`: so many of them by chance.
    """
    guard: Document = _done(names, stage)
    guard |= {} if names else {"same_as": None}  # what was computed, once
    fields = {"state": 1, "config": 1, "fingerprint": 1, "sources": 1, "location": 1}
    order: Document = {"$sample": {"size": sample}} if sample else {"$sort": {"_id": 1}}
    return list(collection(db).aggregate([{"$match": guard}, {"$project": fields}, order]))


def locations(db: Queue, names: Iterable[str]) -> dict[str, str | None]:
    """Name -> where the result of a run lies, None if it has none."""
    runs = collection(db).find({"_id": {"$in": list(names)}}, {"location": 1})
    return {run["_id"]: run.get("location") for run in runs}


def reruns_without_verdict(db: Queue) -> list[str]:
    """Reruns that have ended and whose original has no verdict of them: nobody waited."""
    ended = {"state": {"$in": [State.VERIFIED.value, State.FAILED.value]}, "verifies": {"$exists": True}}
    reruns = {run["verifies"]: run for run in collection(db).find(ended, {"verifies": 1, "finished_at": 1})}
    originals = collection(db).find({"_id": {"$in": list(reruns)}}, {"verdicts.ended_at": 1})
    known = {run["_id"]: [verdict["ended_at"] for verdict in run.get("verdicts", [])] for run in originals}
    return sorted(run["_id"] for name, run in reruns.items() if run["finished_at"] not in known.get(name, []))


def judged(db: Queue, limit: int, level: str = "") -> list[RunDocument]:
    """Runs with verdicts, the newest verdict first; of those whose last one says this level, if one is named."""
    guard: Document = {"verdicts.0": {"$exists": True}}
    if level:
        guard["$expr"] = {"$eq": [{"$last": "$verdicts.level"}, level]}
    fields = {"stage": 1, "verdicts": 1, "environment.commit": 1}
    return list(collection(db).find(guard, fields).sort("verdicts.at", -1).limit(limit))


def reruns_under_way(db: Queue, limit: int) -> list[RunDocument]:
    """Reruns that have not ended."""
    guard = {"state": {"$in": [state.value for state in runs.LIVE]}, "verifies": {"$exists": True}}
    fields = {"stage": 1, "state": 1, "verifies": 1, "progress": 1, "submitted_at": 1}
    return list(collection(db).find(guard, fields).sort("_id").limit(limit))


def values_read(db: Queue, names: Sequence[str] = (), stage: str | None = None) -> Iterator[Document]:
    """One group for every value of every key that done runs have read: `_id` with stage, key, default and value, the
    `count` of runs, and an `example`.

    MongoDB does the counting, in one aggregation. A group's key holds the type too, for to MongoDB 1 is 1.0. What a
    config itself said is not a default: its values need not be told apart.
    """
    same = {"stage": "$stage", "key": "$read.k", "default": "$read.v.default"}
    value = {"$cond": ["$read.v.default", "$read.v.value", None]}
    types = {"$map": {"input": "$value", "in": {"$type": "$$this"}}}
    kind = {"$cond": [{"$isArray": "$value"}, types, {"$type": "$value"}]}
    pipeline: list[Mapping[str, Any]] = [
        {"$match": _done(names, stage)},
        {"$project": {"stage": 1, "read": {"$objectToArray": "$params"}}},
        {"$unwind": "$read"},
        {"$set": {"value": value}},
        {
            "$group": {
                "_id": same | {"value": "$value", "kind": kind},
                "count": {"$sum": 1},
                "example": {"$min": "$_id"},
            }
        },
    ]
    yield from db.runs.aggregate(pipeline)


def _done(names: Sequence[str], stage: str | None) -> Document:
    guard: Document = {"state": State.DONE.value}
    guard |= {"_id": {"$in": list(names)}} if names else {}
    return guard | {"stage": stage or {"$ne": SEARCH}}  # a search has computed nothing itself

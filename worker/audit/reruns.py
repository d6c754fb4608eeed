"""Reruns of done runs on today's code: which, and from which inputs; `result_comparison` says what came of them.

A rerun is a run of its own, called `NAME.verify`, which no config can be called. It reads the inputs that its
original read, ends as `verified` and never as `done`, and lies in a folder of its own, which `repro gc` removes.
One run has one rerun at a time; who asks for another while it is under way shares it.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence

from repro.scheduler import runs
from repro.scheduler.queue import queries
from repro.scheduler.server.connection import Document, Queue
from repro.stages.errors import ReproError, StageError
from repro.worker.audit.store_recovery import Store

POLL = 0.5  # seconds
ALIVE = 120.0  # seconds since a worker was last heard
NEEDED = {"state": 1, "config": 1, "fingerprint": 1, "sources": 1, "location": 1}


def choose(db: Queue, names: Sequence[str], stage: str | None = None, sample: int | None = None) -> list[Document]:
    """The done runs of these names, or all, or a stage's; of them so many by chance.

    Raises:
        ReproError: one of the names is no done run.
    """
    if names and (wrong := [f"{r['_id']} is {r['state']}" for r in queries.runs(db, names) if r["state"] != "done"]):
        raise ReproError(f"only done runs can be verified: {', '.join(wrong)}")
    guard: Document = {"state": runs.State.DONE.value}
    guard |= {"_id": {"$in": list(names)}} if names else {"same_as": None}  # what was computed, once
    guard |= {"stage": stage} if stage else {}
    drawn = [{"$sample": {"size": sample}}] if sample else [{"$sort": {"_id": 1}}]
    return list(db.runs.aggregate([{"$match": guard}, {"$project": NEEDED}, *drawn]))


def start(db: Queue, store: Store, originals: Sequence[Document], by: str) -> list[str]:
    """Put a rerun of each into the queue; returns their names.

    Raises:
        StageError: the folder of a run is not complete any more.
    """
    read = _read_from(store, [original for original in originals if original["sources"]])
    wanted = list({source for original in originals for source in original["sources"]})
    now = {d["_id"]: d.get("location") for d in db.runs.find({"_id": {"$in": wanted}}, {"location": 1})}
    started = []
    for original in originals:
        then = read.get(original["_id"], {})
        moved = {source: place for source, place in then.items() if now.get(source) != place}
        started.append(runs.rerun(db, original, moved, by))
    return started


def _read_from(store: Store, originals: Sequence[Document]) -> dict[str, dict[str, str]]:
    """Name -> source -> the location that the run read it from, as its manifest tells."""
    by_place = {original["location"]: original["_id"] for original in originals}
    found: dict[str, dict[str, str]] = {}
    for mark in store.marks(list(by_place)):
        if isinstance(mark, OSError):
            raise StageError(f"{mark.filename} can't be read: {mark.strerror}") from mark
        sources = json.loads(mark.data)["sources"]
        found[by_place[mark.location]] = {source: of["location"] for source, of in sources.items()}
    if gone := by_place.keys() - {place for place, name in by_place.items() if name in found}:
        raise StageError(f"a result is gone from the store: {', '.join(sorted(gone))}")
    return found


def unjudged(db: Queue) -> list[str]:
    """Reruns that have ended and whose original has no verdict of them: nobody waited."""
    ended = db.runs.find({"state": {"$in": ["verified", "failed"]}, "verifies": {"$exists": True}}, _ENDED)
    reruns = {d["verifies"]: d for d in ended}
    judged = db.runs.find({"_id": {"$in": list(reruns)}}, {"verdicts.ended_at": 1})
    known = {d["_id"]: [verdict["ended_at"] for verdict in d.get("verdicts", [])] for d in judged}
    return sorted(d["_id"] for name, d in reruns.items() if d["finished_at"] not in known.get(name, []))


_ENDED = {"verifies": 1, "finished_at": 1}


def follow(db: Queue, reruns: Sequence[str], alone: Callable[[], None]) -> Iterator[tuple[Document, Document]]:
    """Original and rerun, as each rerun ends; calls `alone` once if no worker is there to compute them."""
    waiting, told = list(reruns), False
    while waiting:
        still = queries.unfinished(db, waiting)
        for name in [name for name in waiting if name not in still]:
            waiting.remove(name)
            rerun = queries.run(db, name)
            yield queries.run(db, rerun["verifies"]), rerun
        if waiting and not told and not has_workers(db):
            told = True
            alone()
        if waiting:
            time.sleep(POLL)


def has_workers(db: Queue) -> bool:
    """Whether a worker has been heard lately; by the server's clock."""
    heard = {"$expr": {"$gt": ["$seen_at", {"$subtract": ["$$NOW", round(ALIVE * 1000)]}]}}
    return db.workers.find_one(heard, {"_id": 1}) is not None

"""The transitions that users ask for: cancel, retry, hold, unhold, set_priority, record_verdict."""

from collections.abc import Iterable

from pymongo import ReturnDocument

from repro.scheduler.runs import demands
from repro.scheduler.runs.by_worker import release_children
from repro.scheduler.runs.expressions import ENDED, NOW, Pipeline, history, literals
from repro.scheduler.runs.run_document import OF_AN_ATTEMPT, RunDocument, Verdict, collection
from repro.scheduler.runs.states import LIVE, QUEUED, RETRIABLE, State
from repro.scheduler.search.search_config import STAGE as SEARCH
from repro.scheduler.server.connection import Document, Queue

VERDICTS = 10  # kept on a run


def cancel(db: Queue, name: str, by: str = "") -> RunDocument | None:
    """waiting | pending | running -> cancelled; a running one's worker loses its lease and stops.

    This and the other verbs of a user return how the run stands after it, None where its state refused it. The same of
    all runs that a filter lets through, each an atomic update, return how many there were.
    """
    return _change(db, name, LIVE, _cancelled(by))


def cancel_all(db: Queue, guard: Document, by: str = "") -> int:
    return _change_all(db, guard, LIVE, _cancelled(by))


def _cancelled(by: str) -> Pipeline:
    entry = history(to=State.CANCELLED, noted=ENDED, by=by)
    ended = {"state": State.CANCELLED.value, "finished_at": NOW, "history": entry}
    return [{"$set": ended}, {"$unset": OF_AN_ATTEMPT}]


def retry(db: Queue, name: str, by: str = "", code: Document | None = None) -> RunDocument | None:
    """failed | cancelled -> pending, or waiting if sources are not done; attempts start anew, history stays.

    `code`: what the document is to keep of the code from now on; None leaves it the code of its submit.
    """
    done = _done_sources(db, name)  # `waiting_for` is out of date: nobody released this run since it ended
    itself = {"$cond": [{"$eq": ["$stage", SEARCH]}, ["$_id"], []]}
    left = {"$concatArrays": [{"$setDifference": ["$sources", {"$literal": sorted(done)}]}, itself]}
    to = {"$cond": [{"$eq": [{"$size": "$waiting_for"}, 0]}, State.PENDING.value, State.WAITING.value]}
    update: Pipeline = [
        {"$set": {"waiting_for": left, "attempts": 0, "not_before": None} | (_of_code(db, name, code) if code else {})},
        {"$set": {"state": to}},
        {"$set": {"history": history(to="$state", by=by)}},
        {"$unset": ["error", "finished_at", "put_off"]},
    ]
    retried = _change(db, name, RETRIABLE, update)
    if retried:
        # What ended between our look and our update released its children too early for this one.
        release_children(db, _done_sources(db, name) - done)
    return retried


def hold(db: Queue, name: str, by: str = "") -> RunDocument | None:
    """waiting | pending stay as they are, but are not claimed until `unhold`."""
    return _change(db, name, QUEUED, _held(by))


def hold_all(db: Queue, guard: Document, by: str = "") -> int:
    return _change_all(db, guard, QUEUED, _held(by))


def _held(by: str) -> Pipeline:
    return _set_queued("held", {"$literal": True}, by, why="held")


def unhold(db: Queue, name: str, by: str = "") -> RunDocument | None:
    """waiting | pending stay as they are, and may be claimed again."""
    return _change(db, name, QUEUED, _unheld(by))


def unhold_all(db: Queue, guard: Document, by: str = "") -> int:
    return _change_all(db, guard, QUEUED, _unheld(by))


def _unheld(by: str) -> Pipeline:
    needs = {"$cond": [{"$gt": ["$needs", ""]}, "$needs", False]}  # what is missing is less than any text
    return _set_queued("held", needs, by, why="unheld")


def set_priority(db: Queue, name: str, priority: int, by: str = "") -> RunDocument | None:
    """waiting | pending stay as they are; of those that fit, the higher priority is claimed first."""
    return _change(db, name, QUEUED, _given_priority(priority, by))


def set_priority_of_all(db: Queue, guard: Document, priority: int, by: str = "") -> int:
    return _change_all(db, guard, QUEUED, _given_priority(priority, by))


def _given_priority(priority: int, by: str) -> Pipeline:
    return _set_queued("priority", {"$literal": priority}, by, why=f"priority {priority}")


def record_verdict(db: Queue, name: str, verdict: Verdict) -> bool:
    """done, as it is: the verdict of a rerun joins the last ones. False if it is recorded already."""
    guard = {"_id": name, "state": State.DONE.value, "verdicts.ended_at": {"$ne": verdict["ended_at"]}}
    dated = {"$mergeObjects": [{"at": NOW}, {"$literal": verdict}]}
    kept = {"$slice": [{"$concatArrays": [{"$ifNull": ["$verdicts", []]}, [dated]]}, -VERDICTS]}
    return collection(db).update_one(guard, [{"$set": {"verdicts": kept}}]).matched_count == 1


def _set_queued(field: str, value: Document, by: str, why: str) -> Pipeline:
    """Set a field of a run that nobody has claimed; saying again what holds already leaves no trace in the history."""
    same = {"$eq": [f"${field}", value]}
    entry = history(to="$state", by=by, why=why)
    return [{"$set": {"history": {"$cond": [same, "$history", entry]}, field: value}}]


def _change(db: Queue, name: str, states: Iterable[State], update: Pipeline) -> RunDocument | None:
    guard = {"_id": name, "state": {"$in": [state.value for state in states]}}
    shown = {"state": 1, "held": 1, "priority": 1}
    return collection(db).find_one_and_update(guard, update, projection=shown, return_document=ReturnDocument.AFTER)


def _change_all(db: Queue, guard: Document, states: Iterable[State], update: Pipeline) -> int:
    fitting = {"$and": [guard, {"state": {"$in": [state.value for state in states]}}]}
    return collection(db).update_many(fitting, update).matched_count


def _of_code(db: Queue, name: str, code: Document) -> Document:
    """The fields of a run that is computed by this code from now on."""
    run = collection(db).find_one({"_id": name}, {"needs": 1}) or {}
    needs = demands.with_code(run.get("needs", ""), code)
    held = {"$cond": [{"$eq": ["$held", True]}, True, {"$literal": needs or False}]}
    return literals({"code": code, "needs": needs}) | {"held": held}


def _done_sources(db: Queue, name: str) -> set[str]:
    run = collection(db).find_one({"_id": name}, {"sources": 1})
    guard = {"_id": {"$in": run["sources"] if run else []}, "state": State.DONE.value}
    return {source["_id"] for source in collection(db).find(guard, {"_id": 1})}

"""The transitions that make a run document: submit, adopt, restore, rerun."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from pymongo.errors import BulkWriteError, DuplicateKeyError

from repro.scheduler.runs import demands
from repro.scheduler.runs.expressions import NOW, Pipeline, literals
from repro.scheduler.runs.run_document import HistoryEntry, RunDocument, collection, document
from repro.scheduler.runs.states import FINAL, State
from repro.scheduler.server.connection import Document, Queue, server_time

RESULT = ("location", "outputs", "outputs_total", "metrics", "params", "environment", "unread", "code")
RERUN = ".verify"  # behind a run's name: its rerun's, which no config can be called
RERUN_PRIORITY = -1000  # results first
DUPLICATE_KEY = 11000


def submit(db: Queue, documents: Sequence[RunDocument]) -> list[str]:
    """(none) -> waiting | pending, in this order. Returns the names that were not inserted: where somebody else has
    inserted one in the meantime, it and all behind it.

    Sources must stand before their children: what a crash leaves is then a chain without its end, and the same submit
    completes it. And where another's source took a name, no child stands under the fingerprint of the one that it
    would have had.
    """
    now = server_time(db)  # an insert can't say $$NOW
    try:
        collection(db).insert_many([_submitted(run, now) for run in documents], ordered=True)
    except BulkWriteError as error:
        (failure,) = error.details["writeErrors"]
        if failure["code"] != DUPLICATE_KEY:
            raise
        return [run["_id"] for run in documents[failure["index"] :]]
    return []


def _submitted(run: RunDocument, now: datetime) -> RunDocument:
    entry: HistoryEntry = {"at": now, "to": run["state"], "by": run.get("submitted_by")}
    return run | {"submitted_at": now, "history": [entry]}


def adopt(db: Queue, documents: Sequence[tuple[RunDocument, RunDocument]]) -> list[str]:
    """(none) -> done, of each new document with the done run whose computation it is; nothing is computed or copied.

    Returns the names that somebody else inserted in the meantime.
    """
    now = server_time(db)
    return _insert_new(db, [_adopted(new, equal, now) for new, equal in documents]) if documents else []


def _adopted(new: RunDocument, equal: RunDocument, now: datetime) -> RunDocument:
    entry: HistoryEntry = {
        "at": now,
        "to": State.DONE.value,
        "by": new.get("submitted_by"),
        "why": f"equal to {equal['_id']}",
    }
    known = cast("Document", equal)
    result = cast("RunDocument", {key: known[key] for key in RESULT if key in known})
    return (
        new
        | result
        | {"state": State.DONE.value, "waiting_for": [], "submitted_at": now, "finished_at": now}
        | {"same_as": equal["_id"], "history": [entry]}
    )


def restore(db: Queue, documents: Sequence[RunDocument]) -> list[str]:
    """(none) -> done, from the manifests of complete folders, never over a document that exists.

    Returns the names that have one already; those are left as they are.
    """
    entry: HistoryEntry = {"at": server_time(db), "to": State.DONE.value, "why": "restored from the store"}
    return _insert_new(db, [run | {"state": State.DONE.value, "history": [entry]} for run in documents])


def _insert_new(db: Queue, documents: Sequence[RunDocument]) -> list[str]:
    """Insert those whose name is free; returns the other names."""
    try:
        collection(db).insert_many(documents, ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if any(failure["code"] != DUPLICATE_KEY for failure in failures):
            raise
        return [str(failure["op"]["_id"]) for failure in failures]
    return []


def rerun(
    db: Queue, original: RunDocument, inputs: Mapping[str, str], by: str = "", code: Document | None = None
) -> str:
    """(none) | final -> pending, of a done run's rerun; one that is under way already is shared. Returns its name.

    `inputs`: source name -> where the original read it, for sources whose own documents name another place. `code`: of
    who asks; no other may compute it, for that is what is asked about.
    """
    name = f"{original['_id']}{RERUN}"
    options: Document = {
        "verifies": original["_id"],
        "inputs": dict(inputs),
        "priority": RERUN_PRIORITY,
        "submitted_by": by,
    }
    needs = original.get("needs", "")
    options |= demands.fields(demands.with_code(needs, code) if code else needs, held=False)
    if code:  # the config was computed once: keys that nothing reads were allowed then
        options |= {"code": code, "same_code": True, "allow_unknown": list(original["config"])}
    new = document(name, original["config"], original["fingerprint"], original["sources"], [], **options)
    entry: dict[str, Any] = {"at": NOW, "to": State.PENDING.value} | literals({"by": by} if by else {})
    update: Pipeline = [
        {"$replaceWith": {"$mergeObjects": [{"$literal": new}, {"submitted_at": NOW, "history": [entry]}]}}
    ]
    guard = {"_id": name, "state": {"$in": [state.value for state in FINAL]}}
    with contextlib.suppress(DuplicateKeyError):  # it exists in another state: it has not ended
        collection(db).update_one(guard, update, upsert=True)
    return name

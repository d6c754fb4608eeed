"""The run store: the states, the document, and every transition. Nothing else writes a run document.

Each transition is one function and one atomic update of single documents, guarded by the state that it
leaves and, where a worker writes, by the token of its claim. Times are the server's. In lifecycle order:

    submit             (none) -> waiting | pending
    adopt              (none) -> done               a run of the same fingerprint is done: its result is this one's
    release_children   waiting -> pending           the last source is done
    claim              pending -> running           with a fresh token
    set_aside          pending, as it is            one worker keeps cards free for a run that needs more
    renew              running -> running           the token is still its own
    complete           running -> done | verified   token checked; verified if it is a rerun
    fail               running -> failed | pending  pending if the fault was the machine's and attempts are left
    hand_back          running -> pending           the attempt is not counted
    expire             running -> pending | failed  the lease ran out
    shorten_waits      running | pending, as it is  the server's clock went back: leases and backoffs would last longer
    cancel             waiting | pending | running -> cancelled
    retry              failed | cancelled -> waiting | pending
    hold, unhold, set_priority   waiting | pending, as they are
    restore            (none) -> done               from a complete folder, when the queue was lost
    rerun              (none) | final -> pending    a done run is computed again, under a name of its own
    judge              done, as it is               what a rerun came to joins it; its result stays as it is

Not guaranteed: that a lease lasts as long as asked (the server's clock may jump ahead at a failover). Leases are
for liveness; what a late worker may write is decided by its token alone.
"""

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import pymongo
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteConcernError

from repro.scheduler.server import connection
from repro.scheduler.server.connection import Document, Queue, server_time

Pipeline = list[Mapping[str, Any]]

BACKOFF = 5.0  # seconds until another attempt after a fault of the machine; doubles with every attempt
DOUBLINGS = 9  # at most: three quarters of an hour
HISTORY = 50  # entries kept; a document must not grow without bound


class State(StrEnum):
    """What a crash leaves behind stands beside each state."""

    WAITING = "waiting"  # a source is not done; idle workers release it if the releaser died
    PENDING = "pending"  # claimable, unless held or not_before lies ahead
    RUNNING = "running"  # a worker holds the lease; a dead worker's lease expires
    DONE = "done"  # the folder at `location` is complete; final
    FAILED = "failed"  # `error` says why; final until retried
    CANCELLED = "cancelled"  # by a user; final until retried
    VERIFIED = "verified"  # a rerun has ended well, and is no result: `repro verify` compares it; final until rerun


FINAL = (State.DONE, State.FAILED, State.CANCELLED, State.VERIFIED)
# What a user's verbs take: cancel, retry, and hold, unhold and set_priority.
LIVE = (State.WAITING, State.PENDING, State.RUNNING)
RETRIABLE = (State.FAILED, State.CANCELLED)
QUEUED = (State.WAITING, State.PENDING)
RERUN = ".verify"  # behind a run's name: its rerun's, which no config can be called
RERUN_PRIORITY = -1000  # results first
VERDICTS = 10  # kept on a run
OF_AN_ATTEMPT = ["lease", "cards", "progress", "telemetry", "log_tail"]  # what a document has only while it is running
DUPLICATE_KEY = 11000
NOW = "$$NOW"
CLAIM_ORDER = [("priority", DESCENDING), ("submitted_at", ASCENDING)]

INDEXES = [
    # Claims: equality first, then the order of claims, so that a claim reads one entry a GPU count.
    IndexModel(
        [("state", 1), ("held", 1), ("gpus", 1), ("priority", DESCENDING), ("submitted_at", ASCENDING)],
        name="claim",
    ),
    IndexModel([("waiting_for", 1)], name="children", partialFilterExpression={"state": State.WAITING.value}),
    IndexModel([("fingerprint", 1)], name="fingerprint"),
    IndexModel([("state", 1), ("finished_at", DESCENDING)], name="recent"),
    # For what looks for dead workers all the time: of thousands of running runs it reads those alone.
    IndexModel([("lease.expires_at", 1)], name="leases", partialFilterExpression={"state": State.RUNNING.value}),
    IndexModel([("put_off", 1)], name="put_off", partialFilterExpression={"put_off": {"$gte": 0}}),
]


def create_indexes(db: Queue) -> None:
    """Make the indexes that are missing; run by every submit and every worker."""
    connection.create_indexes(db.runs, INDEXES)


def document(
    name: str,
    config: Document,
    fingerprint: str,
    sources: Sequence[str],
    waiting_for: Sequence[str],
    **options: Any,
) -> Document:
    """A new run's document; `options` are the submit's: priority, held, tags, max_attempts, time_limit..."""
    return {
        "_id": name,
        "state": (State.WAITING if waiting_for else State.PENDING).value,
        "stage": config["stage"],
        "config": config,
        "fingerprint": fingerprint,
        "sources": list(sources),
        "gpus": config.get("gpus", 0),
        "waiting_for": list(waiting_for),
        "priority": 0,
        "held": False,
        "tags": [],
        "max_attempts": 3,
        "not_before": None,
        "time_limit": None,
        "stall_limit": None,
        "attempts": 0,
        "history": [],
    } | options


def submit(db: Queue, documents: Sequence[Document]) -> list[str]:
    """(none) -> waiting | pending. Returns the names that somebody else inserted in the meantime.

    Sources must stand before their children: what a crash leaves is then a chain without its end, and the
    same submit completes it.
    """
    now = server_time(db)  # an insert can't say $$NOW
    fresh = [
        d | {"submitted_at": now, "history": [{"at": now, "to": d["state"], "by": d.get("submitted_by")}]}
        for d in documents
    ]
    return _insert_new(db, fresh)


RESULT = ("location", "outputs", "outputs_total", "metrics", "params", "environment", "unread")


def adopt(db: Queue, documents: Sequence[tuple[Document, Document]]) -> list[str]:
    """(none) -> done, of each new document with the done run whose computation it is; nothing is computed or copied.

    Returns the names that somebody else inserted in the meantime.
    """
    now = server_time(db)
    return _insert_new(db, [_adopted(fresh, equal, now) for fresh, equal in documents]) if documents else []


def _adopted(fresh: Document, equal: Document, now: datetime) -> Document:
    entry = {"at": now, "to": State.DONE.value, "by": fresh.get("submitted_by"), "why": f"equal to {equal['_id']}"}
    result = {key: equal[key] for key in RESULT if key in equal}
    ended = {"state": State.DONE.value, "waiting_for": [], "submitted_at": now, "finished_at": now}
    return fresh | result | ended | {"same_as": equal["_id"], "history": [entry]}


def restore(db: Queue, documents: Sequence[Document]) -> list[str]:
    """(none) -> done, from the manifests of complete folders, never over a document that exists.

    Returns the names that have one already; those are left as they are.
    """
    entry = {"at": server_time(db), "to": State.DONE.value, "why": "restored from the store"}
    return _insert_new(db, [d | {"state": State.DONE.value, "history": [entry]} for d in documents])


def _insert_new(db: Queue, documents: Sequence[Document]) -> list[str]:
    """Insert those whose name is free; returns the other names."""
    try:
        db.runs.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if any(failure["code"] != DUPLICATE_KEY for failure in failures):
            raise
        return [str(failure["op"]["_id"]) for failure in failures]
    return []


def release_children(db: Queue, done: Iterable[str]) -> int:
    """waiting -> pending for every run whose last missing source is among these *done* runs."""
    names = list(done)
    if not names:
        return 0
    left = {"$setDifference": ["$waiting_for", {"$literal": names}]}
    ready = {"$eq": [{"$size": "$waiting_for"}, 0]}
    update: Pipeline = [
        {"$set": {"waiting_for": left}},
        {"$set": {"state": {"$cond": [ready, State.PENDING.value, State.WAITING.value]}}},
        {"$set": {"history": {"$cond": [ready, _history(to=State.PENDING), "$history"]}}},
    ]
    guard = {"state": State.WAITING.value, "waiting_for": {"$in": names}}
    return db.runs.update_many(guard, update).modified_count


def new_token() -> str:
    """A claim's token, made by the claimer, so that it can ask what became of a claim whose reply was lost."""
    return secrets.token_hex(16)


def claimable(gpus: Sequence[int]) -> Document:
    """The filter for runs that may be claimed now and need one of these GPU counts; CLAIM_ORDER says which is first."""
    return {
        "state": State.PENDING.value,
        "held": False,
        "gpus": {"$in": list(gpus)},
        "$expr": {"$lte": ["$not_before", NOW]},
    }


def tokens(run: Document) -> list[str]:
    """The tokens of a run's attempts, the first one first; as many as its history remembers."""
    return [entry["token"] for entry in run["history"] if entry["to"] == State.RUNNING]


class Draw(NamedTuple):
    """For a claim among many: any one of about the first `among` runs of this priority, instead of the first.

    All who claim at once want the first; one gets it, and the server lets the others look again and again.
    """

    priority: int
    among: int

    def passing_over(self, guard: Document) -> Document:
        """The guard; runs of this priority meet it with a chance of 1 in `among` each, those of a higher one surely."""
        chance = {"$lt": [{"$rand": {}}, 1 / self.among]}
        chosen = {"$expr": {"$or": [{"$gt": ["$priority", self.priority]}, chance]}}
        return {"$and": [guard, {"priority": {"$gte": self.priority}}, chosen]}


def claim(
    db: Queue, worker: str, gpus: Sequence[int], lease: float, token: str | None = None, draw: Draw | None = None
) -> Document | None:
    """pending -> running, with a fresh token: the first by priority, then age, that needs one of these GPU counts.

    With a `draw` it may be one a little behind the first; never one of a lower priority before one of a higher.
    """
    holder = {"token": token or new_token(), "worker": worker, "seconds": lease}
    update: Pipeline = [
        {
            "$set": {
                "state": State.RUNNING.value,
                "attempts": {"$add": ["$attempts", 1]},
                "started_at": NOW,
                "not_before": None,
                "lease": {"$mergeObjects": [{"$literal": holder}, {"expires_at": _later(lease)}]},
                "history": _history(to=State.RUNNING, by=worker, token=holder["token"]),
            }
        },
        {"$unset": ["progress", "log_tail", "error", "finished_at", "aside", "put_off"]},
    ]
    guard = claimable(gpus)
    found = _first_updated(db, draw.passing_over(guard), update) if draw else None
    return found or _first_updated(db, guard, update)


def _first_updated(db: Queue, guard: Document, update: Pipeline) -> Document | None:
    """`find_one_and_update` that the driver does not send again: for one that it may, the server keeps a copy of the
    document. Whoever lost the reply to a claim asks with its token."""
    reply = db.command(
        "findAndModify",
        db.runs.name,
        query=guard,
        sort=dict(CLAIM_ORDER),
        update=update,
        new=True,
        writeConcern=db.write_concern.document,
        codec_options=db.codec_options,
    )
    if failure := reply.get("writeConcernError"):  # it is applied, but a fail-over may undo it
        raise WriteConcernError(failure["errmsg"], failure["code"], failure)
    found: Document | None = reply["value"]
    return found


def set_aside(db: Queue, name: str, worker: str, seconds: float) -> bool:
    """pending, as it is: this worker keeps cards free for it. False if another one does already, or it is gone."""
    nobody_else = [
        {"aside.worker": {"$in": [None, worker]}},
        {"$expr": {"$lt": ["$aside.until", NOW]}},
    ]
    guard = {"_id": name, "state": State.PENDING.value, "held": False, "$or": nobody_else}
    update: Pipeline = [{"$set": {"aside": {"worker": {"$literal": worker}, "until": _later(seconds)}}}]
    return db.runs.update_one(guard, update).matched_count == 1


def renew(db: Queue, name: str, token: str, lease: float, news: Mapping[str, Any] | None = None) -> bool:
    """running -> running while the token is still its own; False means that the run belongs to somebody else.

    `news` is what the attempt has to tell so far: its `cards`, `progress`, `telemetry`, `log_tail`; and its newest
    `checkpoint`, which outlives it: the next attempt goes on from there, or from a newer one of which no document was
    told.

    It gives up after a third of the lease, so that the next one may go another way: a server that was stopped, or a
    broken network, may leave a reply out for as long as it likes.
    """
    update: Pipeline = [{"$set": {"lease.expires_at": _later(lease)} | _literals(news or {})}]
    with pymongo.timeout(max(1.0, lease / 3)):
        return db.runs.update_one(_held_by(name, token), update).matched_count == 1


def complete(db: Queue, name: str, token: str, location: str, result: Document) -> bool:
    """running -> done, token checked. True also if an earlier call of the same attempt got through.

    A rerun becomes verified instead: who asks for what is done is not to find it.
    """
    ended = {"$cond": [{"$eq": [{"$type": "$verifies"}, "missing"]}, State.DONE.value, State.VERIFIED.value]}
    update: Pipeline = [
        {"$set": {"state": ended, "finished_at": NOW} | _literals(result | {"location": location})},
        {"$set": {"history": _history(to="$state", token=token)}},
        {"$unset": [*OF_AN_ATTEMPT, "error", "checkpoint"]},
    ]
    if db.runs.update_one(_held_by(name, token), update).matched_count == 1:
        return True
    # The location holds the token, so no other attempt can have written it.
    ends = {"$in": [State.DONE.value, State.VERIFIED.value]}
    return db.runs.find_one({"_id": name, "state": ends, "location": location}, {"_id": 1}) is not None


def fail(
    db: Queue, name: str, token: str, error: Document, again: bool = False, checkpoint: Document | None = None
) -> bool:
    """running -> failed; or, `again` after a fault of the machine and while attempts are left, -> pending for a while.

    It comes back ever later: BACKOFF, doubled each time, with jitter so that many do not come back at once.
    """
    update = _give_up(error, _backoff(1) if again else None, token=token)
    if checkpoint:
        update.append({"$set": _of_the_run(checkpoint)})
    return db.runs.update_one(_held_by(name, token), update).matched_count == 1


def hand_back(db: Queue, name: str, token: str, checkpoint: Document | None = None) -> bool:
    """running -> pending; the attempt does not count."""
    update: Pipeline = [
        {
            "$set": {
                "state": State.PENDING.value,
                "attempts": {"$subtract": ["$attempts", 1]},
                "history": _history(to=State.PENDING, token=token, why="handed back"),
            }
            | _of_the_run(checkpoint)
        },
        {"$unset": OF_AN_ATTEMPT},
    ]
    return db.runs.update_one(_held_by(name, token), update).matched_count == 1


def _of_the_run(checkpoint: Document | None) -> Document:
    """What no heartbeat may have told yet."""
    return _literals({"checkpoint": checkpoint} if checkpoint else {})


def expire(db: Queue) -> int:
    """running -> pending, or failed if attempts are spent, for every run whose lease ran out.

    The first time it is claimable at once. A run that loses worker after worker may be what kills them: it comes
    back ever later, as after other faults, and not more often than `max_attempts`.
    """
    guard = {"state": State.RUNNING.value, "$expr": {"$lt": ["$lease.expires_at", NOW]}}
    error = {"type": "LostWorker", "message": "the worker stopped renewing its lease"}
    wait = {"$cond": [{"$lte": ["$attempts", 1]}, 0, _backoff(2)]}
    return db.runs.update_many(guard, _give_up(error, wait)).modified_count


def shorten_waits(db: Queue, lease: float) -> int:
    """running | pending, as they are: no lease and no backoff ends later than its own length from now.

    Where one would, the server's clock has gone back since (a fail-over to a machine whose clock is behind), and a
    dead worker's run would wait that much longer. `lease`: the caller's, in seconds; of leases only those that end
    later than that are read.
    """
    held = {"state": State.RUNNING.value, "$expr": {"$gt": ["$lease.expires_at", _later(lease)]}}
    put_off = {"state": State.PENDING.value, "put_off": {"$gte": 0}, "not_before": {"$type": "date"}}
    leases = _shorten(db, held, "lease.expires_at", {"$ifNull": ["$lease.seconds", lease]})
    return leases + _shorten(db, put_off, "not_before", "$put_off")


def _shorten(db: Queue, guard: Document, until: str, seconds: Any) -> int:
    longest = {"$add": [NOW, _milliseconds(seconds)]}
    too_long = {"$and": [guard, {"$expr": {"$gt": [f"${until}", longest]}}]}
    return db.runs.update_many(too_long, [{"$set": {until: longest}}]).modified_count


def cancel(db: Queue, name: str, by: str = "") -> Document | None:
    """waiting | pending | running -> cancelled; a running one's worker loses its lease and stops.

    This and the other verbs of a user return how the run stands after it, None where its state refused it.
    """
    return _by_user(db, name, LIVE, [{"$set": _end(State.CANCELLED, by=by)}, {"$unset": OF_AN_ATTEMPT}])


def retry(db: Queue, name: str, by: str = "") -> Document | None:
    """failed | cancelled -> pending, or waiting if sources are not done; attempts start anew, history stays."""
    done = _done_sources(db, name)  # `waiting_for` is out of date: nobody released this run since it ended
    left = {"$setDifference": ["$sources", {"$literal": sorted(done)}]}
    to = {"$cond": [{"$eq": [{"$size": "$waiting_for"}, 0]}, State.PENDING.value, State.WAITING.value]}
    update: Pipeline = [
        {"$set": {"waiting_for": left, "attempts": 0, "not_before": None}},
        {"$set": {"state": to}},
        {"$set": {"history": _history(to="$state", by=by)}},
        {"$unset": ["error", "finished_at", "put_off"]},
    ]
    found = _by_user(db, name, RETRIABLE, update)
    if found:
        # What ended between our look and our update released its children too early for this one.
        release_children(db, _done_sources(db, name) - done)
    return found


def hold(db: Queue, name: str, by: str = "") -> Document | None:
    """waiting | pending stay as they are, but are not claimed until `unhold`."""
    return _set_queued(db, name, "held", True, by, why="held")


def unhold(db: Queue, name: str, by: str = "") -> Document | None:
    """waiting | pending stay as they are, and may be claimed again."""
    return _set_queued(db, name, "held", False, by, why="unheld")


def set_priority(db: Queue, name: str, priority: int, by: str = "") -> Document | None:
    """waiting | pending stay as they are; of those that fit, the higher priority is claimed first."""
    return _set_queued(db, name, "priority", priority, by, why=f"priority {priority}")


def rerun(db: Queue, original: Document, inputs: Mapping[str, str], by: str = "") -> str:
    """(none) | final -> pending, of a done run's rerun; one that is under way already is shared. Returns its name.

    `inputs`: source name -> where the original read it, for sources whose own documents name another place.
    """
    name = f"{original['_id']}{RERUN}"
    told = {"verifies": original["_id"], "inputs": dict(inputs), "priority": RERUN_PRIORITY, "submitted_by": by}
    fresh = document(name, original["config"], original["fingerprint"], original["sources"], [], **told)
    entry = {"at": NOW, "to": State.PENDING.value} | _literals({"by": by} if by else {})
    update: Pipeline = [
        {"$replaceWith": {"$mergeObjects": [{"$literal": fresh}, {"submitted_at": NOW, "history": [entry]}]}}
    ]
    guard = {"_id": name, "state": {"$in": [state.value for state in FINAL]}}
    with contextlib.suppress(DuplicateKeyError):  # it is there in another state: it has not ended
        db.runs.update_one(guard, update, upsert=True)
    return name


def judge(db: Queue, name: str, verdict: Document) -> bool:
    """done, as it is: the verdict of a rerun joins the last ones. False if it is there already."""
    guard = {"_id": name, "state": State.DONE.value, "verdicts.ended_at": {"$ne": verdict["ended_at"]}}
    told = {"$mergeObjects": [{"at": NOW}, {"$literal": verdict}]}
    kept = {"$slice": [{"$concatArrays": [{"$ifNull": ["$verdicts", []]}, [told]]}, -VERDICTS]}
    return db.runs.update_one(guard, [{"$set": {"verdicts": kept}}]).matched_count == 1


def _set_queued(db: Queue, name: str, field: str, value: bool | int, by: str, why: str) -> Document | None:
    """Set a field of a run that nobody has claimed; saying again what holds already leaves no trace in the history."""
    same = {"$eq": [f"${field}", {"$literal": value}]}
    entry = _history(to="$state", by=by, why=why)
    update: Pipeline = [{"$set": {"history": {"$cond": [same, "$history", entry]}} | _literals({field: value})}]
    return _by_user(db, name, QUEUED, update)


def _by_user(db: Queue, name: str, states: Iterable[State], update: Pipeline) -> Document | None:
    guard = {"_id": name, "state": {"$in": [state.value for state in states]}}
    shown = {"state": 1, "held": 1, "priority": 1}
    return db.runs.find_one_and_update(guard, update, projection=shown, return_document=ReturnDocument.AFTER)


def _done_sources(db: Queue, name: str) -> set[str]:
    run = db.runs.find_one({"_id": name}, {"sources": 1})
    guard = {"_id": {"$in": run["sources"] if run else []}, "state": State.DONE.value}
    return {d["_id"] for d in db.runs.find(guard, {"_id": 1})}


def _held_by(name: str, token: str) -> Document:
    return {"_id": name, "state": State.RUNNING.value, "lease.token": token}


def _end(state: State, **facts: Any) -> Document:
    return {"state": state.value, "finished_at": NOW, "history": _history(to=state, **facts)}


def _give_up(error: Document, wait: Any, **facts: Any) -> Pipeline:
    """failed, or pending again if the fault was the machine's (`wait` says after how many seconds) and attempts are
    left."""
    again: Any = False if wait is None else {"$lt": ["$attempts", "$max_attempts"]}
    told: Any = {"$literal": error}
    if wait is not None:  # a user is to see that it was not one fault alone
        times = {"$cond": [{"$eq": ["$attempts", 1]}, "once", {"$concat": [{"$toString": "$attempts"}, " times"]}]}
        tried = {"$concat": ["tried ", times, "; last: ", {"$literal": error["message"]}]}
        told = {"$cond": [again, told, {"$mergeObjects": [told, {"message": tried}]}]}
    return [
        {"$set": {"state": {"$cond": [again, State.PENDING.value, State.FAILED.value]}}},
        {"$set": {"put_off": {"$cond": [again, wait, "$$REMOVE"]}}},
        {
            "$set": {
                "not_before": {"$cond": [again, {"$add": [NOW, _milliseconds("$put_off")]}, None]},
                "finished_at": {"$cond": [again, "$$REMOVE", NOW]},
                "history": _history(to="$state", why=error["message"], **facts),
                "error": told,
            }
        },
        {"$unset": OF_AN_ATTEMPT},
    ]


def _backoff(first: int) -> Document:
    """Seconds until the next attempt: BACKOFF after the attempt of this number, doubled after each later one."""
    doubled = {"$pow": [2, {"$min": [{"$subtract": ["$attempts", first]}, DOUBLINGS]}]}
    return {"$multiply": [BACKOFF, doubled, {"$add": [0.5, {"$rand": {}}]}]}


def _history(to: str, **facts: Any) -> Document:
    """The history with one more entry, the oldest dropped past the bound."""
    field: Any = to if to.startswith("$") else {"$literal": str(to)}
    entry = {"at": NOW, "to": field} | _literals({key: value for key, value in facts.items() if value})
    return {"$slice": [{"$concatArrays": ["$history", [entry]]}, -HISTORY]}


def _literals(fields: Mapping[str, Any]) -> Document:
    """A caller's values in a pipeline are data: without `$literal` the string "$_id" would be evaluated."""
    return {key: {"$literal": value} for key, value in fields.items()}


def _later(seconds: float) -> Document:
    return {"$add": [NOW, round(seconds * 1000)]}


def _milliseconds(seconds: Any) -> Document:
    return {"$toLong": {"$multiply": [seconds, 1000]}}

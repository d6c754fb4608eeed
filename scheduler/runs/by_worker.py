"""The transitions that workers make, from the release of a run to the end of its attempt."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pymongo
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import WriteConcernError

from repro.scheduler.runs.expressions import (
    CLAIMED,
    ENDED,
    NOW,
    Pipeline,
    backoff,
    history,
    later,
    literals,
    milliseconds,
)
from repro.scheduler.runs.lacks import Lack, passing_over
from repro.scheduler.runs.run_document import OF_AN_ATTEMPT, RunDocument, collection
from repro.scheduler.runs.states import State
from repro.scheduler.server.connection import Document, Queue

CLAIM_ORDER = [("priority", DESCENDING), ("submitted_at", ASCENDING)]


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
        {"$set": {"history": {"$cond": [ready, history(to=State.PENDING), "$history"]}}},
    ]
    guard = {"state": State.WAITING.value, "waiting_for": {"$in": names}}
    return collection(db).update_many(guard, update).modified_count


def new_token() -> str:
    """A claim's token, made by the claimer, so that it can ask what became of a claim whose reply was lost."""
    return secrets.token_hex(16)


def claimable(gpus: Sequence[int], lacks: Sequence[Lack] = (), met: Sequence[str] = ()) -> Document:
    """The filter for runs that may be claimed now, need one of these GPU counts and nothing that is lacking, and whose
    class of demands is none, or one of those that are met; CLAIM_ORDER says which is first."""
    return passing_over(lacks) | {
        "state": State.PENDING.value,
        "held": {"$in": [False, *met]} if met else False,
        "gpus": {"$in": list(gpus)},
        "$expr": {"$lte": ["$not_before", NOW]},
    }


class ClaimSpread(NamedTuple):
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
    db: Queue,
    worker: str,
    gpus: Sequence[int],
    lease: float,
    token: str | None = None,
    spread: ClaimSpread | None = None,
    lacks: Sequence[Lack] = (),
    met: Sequence[str] = (),
) -> RunDocument | None:
    """pending -> running, with a fresh token: the first by priority, then age, that needs one of these GPU counts.

    With a `spread` it may be one a little behind the first; never one of a lower priority before one of a higher.
    """
    holder = {"token": token or new_token(), "worker": worker, "seconds": lease}
    update: Pipeline = [
        {
            "$set": {
                "state": State.RUNNING.value,
                "attempts": {"$add": ["$attempts", 1]},
                "started_at": NOW,
                "not_before": None,
                "lease": {"$mergeObjects": [{"$literal": holder}, {"expires_at": later(lease)}]},
                "history": history(to=State.RUNNING, noted=CLAIMED, by=worker, token=holder["token"]),
            }
        },
        {"$unset": ["progress", "log_tail", "error", "finished_at", "aside", "put_off"]},
    ]
    guard = claimable(gpus, lacks, met)
    claimed = _first_updated(db, spread.passing_over(guard), update) if spread else None
    return claimed or _first_updated(db, guard, update)


def _first_updated(db: Queue, guard: Document, update: Pipeline) -> RunDocument | None:
    """`find_one_and_update` that the driver does not send again: for one that it may, the server keeps a copy of the
    document. Whoever lost the reply to a claim asks with its token."""
    reply = db.command(
        "findAndModify",
        collection(db).name,
        query=guard,
        sort=dict(CLAIM_ORDER),
        update=update,
        new=True,
        writeConcern=db.write_concern.document,
        codec_options=db.codec_options,
    )
    if failure := reply.get("writeConcernError"):  # it is applied, but a fail-over may undo it
        raise WriteConcernError(failure["errmsg"], failure["code"], failure)
    updated: RunDocument | None = reply["value"]
    return updated


def reserve(db: Queue, name: str, worker: str, seconds: float) -> bool:
    """pending, as it is: this worker keeps GPUs free for it. False if another one does already, or it is gone."""
    nobody_else = [
        {"aside.worker": {"$in": [None, worker]}},
        {"$expr": {"$lt": ["$aside.until", NOW]}},
    ]
    guard = {"_id": name, "state": State.PENDING.value, "held": {"$ne": True}, "$or": nobody_else}
    update: Pipeline = [{"$set": {"aside": {"worker": {"$literal": worker}, "until": later(seconds)}}}]
    return collection(db).update_one(guard, update).matched_count == 1


def renew(db: Queue, name: str, token: str, lease: float, news: Mapping[str, Any] | None = None) -> bool:
    """running -> running while the token is still its own; False means that the run belongs to somebody else.

    `news` is what is known of the attempt so far: its `cards`, `progress`, `telemetry`, `log_tail`; and its newest
    `checkpoint`, which outlives the attempt: the next one goes on from there, or from a newer checkpoint that is in
    the store but in no document.

    It gives up after a third of the lease, so that the next renewal may take another connection: from a server that
    was stopped, or over a broken network, a reply may never come.
    """
    said = literals(news or {})
    if news and "checkpoint" in news:
        said["checkpoint"] = _dated(news["checkpoint"])
    update: Pipeline = [{"$set": {"lease.expires_at": later(lease)} | said}]
    with pymongo.timeout(max(1.0, lease / 3)):
        return collection(db).update_one(_held_by(name, token), update).matched_count == 1


def complete(db: Queue, name: str, token: str, location: str, result: Mapping[str, Any]) -> bool:
    """running -> done, token checked. True also if an earlier call of the same attempt got through.

    A rerun becomes verified instead: who asks for what is done is not to find it.
    """
    ended = {"$cond": [{"$eq": [{"$type": "$verifies"}, "missing"]}, State.DONE.value, State.VERIFIED.value]}
    update: Pipeline = [
        {"$set": {"state": ended, "finished_at": NOW} | literals({**result, "location": location})},
        {"$set": {"history": history(to="$state", noted=ENDED, token=token)}},
        {"$unset": [*OF_AN_ATTEMPT, "error", "checkpoint"]},
    ]
    if collection(db).update_one(_held_by(name, token), update).matched_count == 1:
        return True
    # The location holds the token, so no other attempt can have written it.
    ends = {"$in": [State.DONE.value, State.VERIFIED.value]}
    return collection(db).find_one({"_id": name, "state": ends, "location": location}, {"_id": 1}) is not None


def fail(
    db: Queue,
    name: str,
    token: str,
    error: Mapping[str, Any],
    again: bool = False,
    checkpoint: Document | None = None,
) -> bool:
    """running -> failed; or, `again` after a fault of the machine and while attempts are left, -> pending for a while.

    It comes back ever later: BACKOFF, doubled each time, with jitter so that many do not come back at once.
    """
    update = _give_up(error, backoff(1) if again else None, token=token)
    if checkpoint:
        update.append({"$set": _last_checkpoint(checkpoint)})
    return collection(db).update_one(_held_by(name, token), update).matched_count == 1


def hand_back(db: Queue, name: str, token: str, checkpoint: Document | None = None, why: str = "handed back") -> bool:
    """running -> pending; the attempt does not count."""
    update: Pipeline = [
        {
            "$set": {
                "state": State.PENDING.value,
                "attempts": {"$subtract": ["$attempts", 1]},
                "history": history(to=State.PENDING, noted=ENDED, token=token, why=why),
            }
            | _last_checkpoint(checkpoint)
        },
        {"$unset": OF_AN_ATTEMPT},
    ]
    return collection(db).update_one(_held_by(name, token), update).matched_count == 1


def expire(db: Queue) -> int:
    """running -> pending, or failed if attempts are spent, for every run whose lease ran out.

    The first time it is claimable at once. A run that loses worker after worker may be what kills them: it comes
    back ever later, as after other faults, and not more often than `max_attempts`.
    """
    guard = {"state": State.RUNNING.value, "$expr": {"$lt": ["$lease.expires_at", NOW]}}
    error = {"type": "LostWorker", "message": "the worker stopped renewing its lease"}
    wait = {"$cond": [{"$lte": ["$attempts", 1]}, 0, backoff(2)]}
    return collection(db).update_many(guard, _give_up(error, wait)).modified_count


def shorten_waits(db: Queue, lease: float) -> int:
    """running | pending, as they are: no lease and no backoff ends later than its own length from now.

    Where one would, the server's clock has gone back since (a fail-over to a machine whose clock is behind), and a
    dead worker's run would wait that much longer. `lease`: the caller's, in seconds; of leases only those that end
    later than that are read.
    """
    leased = {"state": State.RUNNING.value, "$expr": {"$gt": ["$lease.expires_at", later(lease)]}}
    in_backoff = {"state": State.PENDING.value, "put_off": {"$gte": 0}, "not_before": {"$type": "date"}}
    leases = _shorten(db, leased, "lease.expires_at", {"$ifNull": ["$lease.seconds", lease]})
    return leases + _shorten(db, in_backoff, "not_before", "$put_off")


def _shorten(db: Queue, guard: Document, until: str, seconds: Any) -> int:
    longest = {"$add": [NOW, milliseconds(seconds)]}
    too_long = {"$and": [guard, {"$expr": {"$gt": [f"${until}", longest]}}]}
    return collection(db).update_many(too_long, [{"$set": {until: longest}}]).modified_count


def _held_by(name: str, token: str) -> Document:
    return {"_id": name, "state": State.RUNNING.value, "lease.token": token}


def _dated(checkpoint: Document) -> Document:
    """With the time at which it was first told, for who asks what a cancel would lose."""
    known = {"$eq": ["$checkpoint.location", {"$literal": checkpoint.get("location")}]}
    at = {"$cond": [known, {"$ifNull": ["$checkpoint.at", NOW]}, NOW]}
    return {"$mergeObjects": [{"$literal": checkpoint}, {"at": at}]}


def _last_checkpoint(checkpoint: Document | None) -> Document:
    """The newest checkpoint, which no heartbeat may have written yet."""
    return literals({"checkpoint": checkpoint} if checkpoint else {})


def _give_up(error: Mapping[str, Any], wait: Any, **facts: Any) -> Pipeline:
    """failed, or pending again if the fault was the machine's (`wait` says after how many seconds) and attempts are
    left."""
    again: Any = False if wait is None else {"$lt": ["$attempts", "$max_attempts"]}
    shown: Any = {"$literal": error}
    if wait is not None:  # a user is to see whose fault it was, and that it was not one alone
        error = {**error, "machine": True}
        shown = {"$literal": error}
        times = {"$cond": [{"$eq": ["$attempts", 1]}, "once", {"$concat": [{"$toString": "$attempts"}, " times"]}]}
        tried = {"$concat": ["tried ", times, "; last: ", {"$literal": error["message"]}]}
        shown = {"$cond": [again, shown, {"$mergeObjects": [shown, {"message": tried}]}]}
    return [
        {"$set": {"state": {"$cond": [again, State.PENDING.value, State.FAILED.value]}}},
        {"$set": {"put_off": {"$cond": [again, wait, "$$REMOVE"]}}},
        {
            "$set": {
                "not_before": {"$cond": [again, {"$add": [NOW, milliseconds("$put_off")]}, None]},
                "finished_at": {"$cond": [again, "$$REMOVE", NOW]},
                "history": history(to="$state", noted=ENDED, why=error["message"], **facts),
                "error": shown,
            }
        },
        {"$unset": OF_AN_ATTEMPT},
    ]

"""What waits, by why: "812 need 4 GPUs and no live worker has them". However long the queue, few documents are read."""

from collections.abc import Iterator
from dataclasses import dataclass

from repro.scheduler.lists import listing
from repro.scheduler.lists.waiting import Facts, for_cards, obstacle, with_room
from repro.scheduler.queue import claims
from repro.scheduler.runs import CLAIM_ORDER, Lack, RunDocument, State, told_by
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search.search_config import STAGE as SEARCH
from repro.scheduler.server.connection import Document, Queue

LATER = "not before a time to come, after a fault of a machine"
MOST = 20  # groups of runs that wait for sources


@dataclass(frozen=True)
class Group:
    """Runs that do not run yet for the same reason.

    Attributes:
        first: the name of one of them, of those that are pending the one that is first in line.
    """

    state: str
    reason: str
    count: int
    first: str | None


def groups(db: Queue) -> list[Group]:
    """The largest first; without searches, which wait for themselves."""
    found = [*_pending(db), *_waiting(db)]
    return sorted(found, key=lambda group: group.count, reverse=True)


def _pending(db: Queue) -> Iterator[Group]:
    """By what they need, which the index of claims tells without any document."""
    needs = {"gpus": "$gpus", "held": "$held"}
    counted = db.runs.aggregate(
        [{"$match": {"state": State.PENDING.value}}, {"$group": {"_id": needs, "count": {"$sum": 1}}}]
    )
    facts = listing.facts_of(db, [])
    for group in counted:
        gpus, held, count = group["_id"]["gpus"], group["_id"]["held"], group["count"]
        guard: Document = {"state": State.PENDING.value, "gpus": gpus, "held": held}
        if held is True:
            yield Group(State.PENDING, "held", count, _first(db, guard))
            continue
        put_off = guard | {"put_off": {"$gte": 0}, "not_before": {"$gt": facts.now}}
        if later := collection(db).count_documents(put_off):
            yield Group(State.PENDING, LATER, later, _first(db, put_off))
        lacks = list(_lacked_by_all(facts, gpus))
        for lack, lacking in lacks:
            concerned = guard | lack.filter()
            if unknown := collection(db).count_documents(concerned):
                yield Group(State.PENDING, f"worker {lacking} {lack}", unknown, _first(db, concerned))
                later += unknown
        if count > later:
            line = claims.first_in_line(db, [gpus], [lack for lack, _ in lacks], [held] if held else [])
            yield _in_line(line, gpus, held or "", count - later, facts)


def _in_line(line: RunDocument | None, gpus: int, needs: str, count: int, facts: Facts) -> Group:
    stub: RunDocument = {"_id": "", "state": State.PENDING, "held": needs or False, "gpus": gpus, "needs": needs}
    reason = obstacle(stub | {"stage": ""}, facts) or f"in line{for_cards(gpus)}: all places are taken"
    return Group(State.PENDING, reason, count, line["_id"] if line else None)


def _lacked_by_all(facts: Facts, gpus: int) -> Iterator[tuple[Lack, str]]:
    """What no live worker with room for so many cards knows, and one of these workers."""
    able = with_room(gpus, facts.workers)
    if able:
        for lack in told_by(able[0]):
            if all(lack in told_by(worker) for worker in able):
                yield lack, able[0]["_id"]


def _waiting(db: Queue) -> Iterator[Group]:
    counted = list(
        db.runs.aggregate(
            [
                {"$match": {"state": State.WAITING.value, "stage": {"$ne": SEARCH}}},
                {"$group": {"_id": "$waiting_for", "count": {"$sum": 1}, "first": {"$min": "$_id"}}},
                {"$sort": {"count": -1, "_id": 1}},
            ]
        )
    )
    runs: list[RunDocument] = [
        {"_id": group["first"], "state": State.WAITING, "waiting_for": group["_id"]} for group in counted[:MOST]
    ]
    facts = listing.facts_of(db, runs) if runs else None
    for group, run in zip(counted, runs, strict=False):
        assert facts is not None
        yield Group(State.WAITING, obstacle(run, facts) or "", group["count"], run["_id"])
    if rest := sum(group["count"] for group in counted[MOST:]):
        yield Group(State.WAITING, "wait for other sources", rest, counted[MOST]["first"])


def _first(db: Queue, guard: Document) -> str | None:
    found = collection(db).find_one(guard, {"_id": 1}, sort=CLAIM_ORDER)
    return found["_id"] if found else None

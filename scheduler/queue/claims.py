"""What a worker asks about claims: what it could claim next, whether it has claimed, when something new may be claimed.

The claim itself is a transition: `runs.claim`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from repro.scheduler.runs import CLAIM_ORDER, Lack, RunDocument, State, claimable
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Queue

NEWS_MS = 2000  # how long the server holds a question for news that it has no answer to


def first_in_line(
    db: Queue, gpus: Sequence[int], lacks: Sequence[Lack] = (), met: Sequence[str] = ()
) -> RunDocument | None:
    """The run that would be claimed next by a worker with room for any of these GPU counts, and these lacks, that meets
    these classes of demands."""
    return collection(db).find_one(claimable(gpus, lacks, met), {"gpus": 1, "sources": 1}, sort=CLAIM_ORDER)


def line(db: Queue, limit: int) -> list[RunDocument]:
    """The pending runs in the order of claims, held ones too, which nobody claims."""
    fields = ("state", "stage", "gpus", "held", "needs", "priority", "submitted_at", "not_before", "waiting_for")
    wanted = dict.fromkeys((*fields, "code", "aside", "attempts"), 1)
    pending = collection(db).find({"state": State.PENDING.value}, wanted)
    return list(pending.sort(CLAIM_ORDER).limit(limit))


def claimable_later(db: Queue, gpus: Sequence[int], lacks: Sequence[Lack] = (), met: Sequence[str] = ()) -> bool:
    """Whether a run that fits these GPU counts is pending, if only after its `not_before`."""
    later = {key: value for key, value in claimable(gpus, lacks, met).items() if key != "$expr"}
    return collection(db).find_one(later, {"_id": 1}) is not None


def held_by(db: Queue, workers: Sequence[str], gpus: Sequence[int]) -> RunDocument | None:
    """A run that one of these workers has, and that needs one of these GPU counts."""
    guard = {"state": State.RUNNING.value, "lease.worker": {"$in": list(workers)}, "gpus": {"$in": list(gpus)}}
    return collection(db).find_one(guard, {"lease": 1}) if workers else None


def classes_waiting(db: Queue) -> list[str]:
    """The classes of demands of pending runs; one entry of the index is read for each."""
    return [held for held in collection(db).distinct("held", {"state": State.PENDING.value}) if isinstance(held, str)]


def held_with(db: Queue, token: str) -> RunDocument | None:
    """The run that is held with a token: the answer to a claim whose reply was lost."""
    return collection(db).find_one({"state": State.RUNNING.value, "lease.token": token})


def pending_news(db: Queue, over: Callable[[], bool]) -> Iterator[None]:
    """Yields at once, and whenever a run has become pending, until it is `over`, which it asks every few seconds.

    A hint only: news may be lost, so polling goes on. A standalone server has no change streams and raises.
    """
    is_pending = {"fullDocument.state": State.PENDING.value}
    became_pending = {"updateDescription.updatedFields.state": State.PENDING.value}
    wanted: list[Mapping[str, Any]] = [
        {"$match": {"$or": [{"operationType": "insert", **is_pending}, became_pending]}},
        {"$project": {"_id": 1}},
    ]
    with collection(db).watch(wanted, max_await_time_ms=NEWS_MS) as news:
        yield  # for what became pending before the stream was there
        while not over():
            if news.try_next() is not None:
                yield

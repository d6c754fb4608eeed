"""What the queue tells Prometheus: reads that cost little however long its history is, each bounded."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from repro.scheduler.lists import listing
from repro.scheduler.queue import workers
from repro.scheduler.runs import State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Document, Queue, server_time

FIRST = 10_000  # pending runs that are told apart by their stage; for that each must be read
RECENT = timedelta(hours=1)
MOST_FAILURES = 10_000
OTHERS = "(beyond the first 10000)"  # stands for the stage of the others


@dataclass(frozen=True)
class Figures:
    """The queue at a moment.

    Attributes:
        states: runs by state.
        pending: those not held, by stage, number of GPUs and class of demands (`runs.demands`; empty for none).
        oldest: seconds since the oldest of those was submitted, by number of GPUs and class of demands.
        failures: runs that failed for good within the last hour, by the error's type.
        workers, cards, places: alive; their cards; what runs without a card they execute at once.
    """

    states: dict[str, int]
    pending: dict[tuple[str, int, str], int]
    oldest: dict[tuple[int, str], float]
    failures: dict[str, int]
    workers: int
    cards: int
    places: int


def figures(db: Queue) -> Figures:
    """The queue now."""
    now = server_time(db)
    claimable = {"state": State.PENDING.value, "held": {"$ne": True}}
    groups = {_need(group["_id"]): group for group in db.runs.aggregate(by_need(claimable))}
    alive = workers.live(db)
    return Figures(
        states={state.value: 0 for state in State} | listing.counts(db),
        pending=_by_stage(db, claimable, {need: group["count"] for need, group in groups.items()}),
        oldest={need: (now - group["oldest"]).total_seconds() for need, group in groups.items()},
        failures=_failures(db, {"$gte": now - RECENT}),
        workers=len(alive),
        cards=sum(len(worker["cards"]) for worker in alive),
        places=sum(worker["cpus"] for worker in alive),
    )


def by_need(claimable: Document) -> list[Document]:
    """The pipeline whose fields all stand in the index of claims: no document is read."""
    need = {"gpus": "$gpus", "held": "$held"}
    return [{"$match": claimable}, {"$group": {"_id": need, "count": {"$sum": 1}, "oldest": {"$min": "$submitted_at"}}}]


def _need(group: Document) -> tuple[int, str]:
    return group["gpus"], group["held"] or ""


def _by_stage(db: Queue, claimable: Document, counted: dict[tuple[int, str], int]) -> dict[tuple[str, int, str], int]:
    first = db.runs.aggregate(
        [
            {"$match": claimable},
            {"$limit": FIRST},
            {"$group": {"_id": {"stage": "$stage", "gpus": "$gpus", "held": "$held"}, "count": {"$sum": 1}}},
        ]
    )
    by_stage = {(group["_id"]["stage"], *_need(group["_id"])): group["count"] for group in first}
    for need, count in counted.items():
        left = count - sum(n for (_, *of), n in by_stage.items() if tuple(of) == need)
        if left > 0:
            by_stage[(OTHERS, *need)] = left
    return by_stage


def _failures(db: Queue, when: Document) -> dict[str, int]:
    guard = {"state": State.FAILED.value, "finished_at": when}
    failed = collection(db).find(guard, {"error.type": 1}).limit(MOST_FAILURES)
    return dict(Counter(str(run.get("error", {}).get("type", "unknown")) for run in failed))

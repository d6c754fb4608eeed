"""The run document: its fields, the document of a new run, and the indexes of the collection."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict, cast

from pymongo import DESCENDING, IndexModel
from pymongo.collection import Collection

from repro.scheduler.runs.states import State
from repro.scheduler.server import connection
from repro.scheduler.server.connection import Document, Queue


class Lease(TypedDict, total=False):
    """Who may write the results of a run, and until when the others wait for him."""

    token: str  # new for every claim
    worker: str
    seconds: float  # its length when it was claimed
    expires_at: datetime


class Reservation(TypedDict, total=False):
    """A worker that keeps GPUs free for a pending run that needs more than are free now."""

    worker: str
    until: datetime


class Progress(TypedDict, total=False):
    """How far the stage says it is."""

    step: int
    total: int | None  # where nobody knows
    begun: int  # the step that this attempt went on from
    metrics: dict[str, float | str]


class Error(TypedDict, total=False):
    """Why a run, or its last attempt, failed."""

    type: str
    message: str
    machine: bool  # whether the fault was a machine's, and not the run's
    log: str
    log_tail: Any


class HistoryEntry(TypedDict, total=False):
    """One transition."""

    at: datetime
    to: str
    by: str | None
    why: str
    token: str
    from_step: int  # of a claim: the step that the attempt was to go on from
    step: int  # of an attempt's end: the last step that it told
    cards: list[str]  # and where it ran


class OutputsTotal(TypedDict, total=False):
    """Of a run with too many outputs for a document; its manifest names all."""

    count: int
    size: int
    manifest_sha256: str


class Verdict(TypedDict, total=False):
    """What the comparison of a rerun with its original came to."""

    level: str
    at: datetime
    ended_at: datetime  # when the rerun did, which is what tells verdicts apart
    folder: str
    same_hardware: bool
    outputs: int
    worst: list[dict[str, Any]]
    environment: dict[str, Any]
    error: str


class Trials(TypedDict, total=False):
    """How far a search is: how many of its trials' runs have ended and how, which is the best, and what keeps it."""

    done: int
    failed: int
    cancelled: int
    begun: int  # runs that the search has asked for
    trials: int  # how many it may have
    best: str
    figure: float
    missing: list[str]  # runs that have failed, or were cancelled, by no fault of their configs
    paused: str  # why it asks for no more


class RunDocument(TypedDict, total=False):
    """One run. A query for some fields returns a document without the others; DESIGN.md describes the fields."""

    _id: str
    state: str
    stage: str
    config: dict[str, Any]
    fingerprint: str
    sources: list[str]
    gpus: int
    waiting_for: list[str]

    # What the submit says; never part of the result.
    priority: int
    held: bool | str  # true; or what it needs, so that only who meets that claims it (`demands`)
    needs: str  # its class of demands
    tags: list[str]
    max_attempts: int
    not_before: datetime | None
    time_limit: float | None
    stall_limit: float | None
    hermetic: bool
    allow_unknown: list[str]  # keys of the config that no code need read
    submitted_at: datetime
    submitted_by: str
    code: dict[str, Any]  # digest and product of the code that the submit checked the config against

    # Of a run of a search: which trial it is, and after how many epochs it stops; None for a whole run.
    search: str
    trial: int
    rung: int | None
    proposed_by: str  # the version of this program
    trials: Trials  # of the search itself

    # What the transitions write.
    attempts: int
    history: list[HistoryEntry]
    started_at: datetime
    finished_at: datetime
    error: Error
    put_off: float  # seconds of backoff after a fault of the machine
    aside: Reservation
    lease: Lease

    # What the worker that holds the lease says meanwhile.
    cards: list[str]
    progress: Progress
    telemetry: dict[str, Any]
    log_tail: Any
    checkpoint: dict[str, Any]

    # The result.
    location: str
    outputs: list[dict[str, Any]]
    outputs_total: OutputsTotal
    metrics: dict[str, Any]
    params: dict[str, Any]
    environment: dict[str, Any]
    unread: list[str]
    usage: dict[str, Any]
    same_as: str  # the run whose result this is: of the same fingerprint

    # Of a rerun, and of the run that was computed again.
    verifies: str
    same_code: bool  # only code of the digest in `code` may compute it
    inputs: dict[str, str]
    verdicts: list[Verdict]


OF_AN_ATTEMPT = ["lease", "cards", "progress", "telemetry", "log_tail"]  # what a document has only while it is running

INDEXES = [
    # Claims: equality first, then the order of claims, so that a claim reads one entry a GPU count.
    IndexModel(
        [("state", 1), ("held", 1), ("gpus", 1), ("priority", DESCENDING), ("submitted_at", 1)],
        name="claim",
    ),
    IndexModel([("waiting_for", 1)], name="children", partialFilterExpression={"state": State.WAITING.value}),
    IndexModel([("fingerprint", 1)], name="fingerprint"),
    IndexModel([("state", 1), ("finished_at", DESCENDING)], name="recent"),
    # For what looks for dead workers all the time: of thousands of running runs it reads those alone.
    IndexModel([("lease.expires_at", 1)], name="leases", partialFilterExpression={"state": State.RUNNING.value}),
    IndexModel([("put_off", 1)], name="put_off", partialFilterExpression={"put_off": {"$gte": 0}}),
    # For lists (`pages`): the newest that wait, those of a rare stage, and done runs by what was made of them, by any
    # figure and by any key. What is partial on done costs a submit and a claim nothing.
    IndexModel([("state", 1), ("submitted_at", DESCENDING)], name="newest"),
    IndexModel([("state", 1), ("stage", 1), ("finished_at", DESCENDING)], name="stage"),
    IndexModel([("sources", 1)], name="made", partialFilterExpression={"state": State.DONE.value}),
    IndexModel(
        [("verdicts.at", DESCENDING)], name="verdicts", partialFilterExpression={"verdicts.0": {"$exists": True}}
    ),
    # The trials of a search, and how many of them have ended; other runs are not in it.
    IndexModel([("search", 1), ("state", 1)], name="search", partialFilterExpression={"search": {"$exists": True}}),
    IndexModel([("tags", 1)], name="tags", partialFilterExpression={"tags.0": {"$exists": True}}),
    IndexModel([("metrics.$**", 1)], name="figures", partialFilterExpression={"state": State.DONE.value}),
    IndexModel([("config.$**", 1)], name="keys", partialFilterExpression={"state": State.DONE.value}),
]


def collection(db: Queue) -> Collection[RunDocument]:
    """The run documents. MongoDB checks no fields: this is the one place that says which there are."""
    return cast("Collection[RunDocument]", db.runs)


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
) -> RunDocument:
    """A new run's document; `options` are the submit's: priority, held, tags, max_attempts, time_limit..."""
    new: RunDocument = {
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
    }
    return new | cast("RunDocument", options)


def tokens(run: RunDocument) -> list[str]:
    """The tokens of a run's attempts, the first one first; as many as its history remembers."""
    return [entry["token"] for entry in run["history"] if entry["to"] == State.RUNNING]

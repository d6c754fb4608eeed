"""What all workers share: the store's root, fixed at first use, and the list of who is alive with what."""

import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from pymongo import IndexModel, ReturnDocument

from repro.scheduler.runs import Lack
from repro.scheduler.server import connection
from repro.scheduler.server.connection import Document, Queue
from repro.stages.errors import ReproError

MOST_LACKS = 20  # that are told
SILENT = 120  # seconds after which a worker does not count as alive
HEARD_LATELY = {"$expr": {"$gt": ["$seen_at", {"$subtract": ["$$NOW", SILENT * 1000]}]}}


def queue_id(db: Queue) -> str:
    """The name of this queue among all in the world, made at its first use."""
    fixed: Document | None = db.settings.find_one_and_update(
        {"_id": "queue"},
        {"$setOnInsert": {"id": secrets.token_hex(16)}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return str((fixed or {})["id"])


def fix_store(db: Queue, url: str, creates_once: bool, identity: str | None = None) -> None:
    """Keep the store's root with the queue: the first worker sets it, all others must have the same.

    `creates_once` says whether the store refuses a name that is taken, as a probe of it has shown. `identity`: the id
    that lies in the store; a queue of before there were any takes it when it first hears of it.

    Raises:
        ReproError: the queue's results lie elsewhere.
    """
    fixed: Document | None = db.settings.find_one_and_update(
        {"_id": "store"},
        {"$setOnInsert": {"url": url, "creates_once": creates_once}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    _check_same(fixed, url)
    if identity:
        db.settings.update_one({"_id": "store", "id": None}, {"$set": {"id": identity}})
        known = db.settings.find_one({"_id": "store"}, {"id": 1}) or {}
        if known.get("id") != identity:
            raise ReproError(f"{url} is not the store of this queue, though it is called the same; see REPRO_STORE")


def known_store(db: Queue) -> Document | None:
    """The `url` and the `id` of the queue's store, None before its first worker."""
    return db.settings.find_one({"_id": "store"})


def check_store(db: Queue, url: str) -> Document | None:
    """What the queue knows of its store, None before its first worker; nothing is fixed by asking.

    Raises:
        ReproError: the queue's results lie elsewhere.
    """
    known = known_store(db)
    _check_same(known, url)
    return known


def _check_same(fixed: Document | None, url: str) -> None:
    if fixed is not None and fixed["url"] != url:
        raise ReproError(
            f"this queue keeps its results in {fixed['url']}, not in {url}; set REPRO_STORE={fixed['url']}"
        )


def data_root(db: Queue, given: str | None, moved: bool = False) -> str | None:
    """The place of the data of this queue's runs; None where nobody has said it and no run has read any.

    One config must not mean other data on other machines. `given`: what this machine says, which the first one fixes;
    `moved`: all others, too, shall read there from now on.

    Raises:
        ReproError: the queue's data lie elsewhere.
    """
    if given is None:
        known = db.settings.find_one({"_id": "data"})
        return None if known is None else str(known["url"])
    fixed: Document | None = db.settings.find_one_and_update(
        {"_id": "data"},
        {"$set" if moved else "$setOnInsert": {"url": given}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    if fixed is not None and fixed["url"] != given:
        raise ReproError(
            f"the runs of this queue read their data in {fixed['url']}, not in {given}, where the same config could "
            "mean another dataset; unset REPRO_DATA, or if all of the data have moved, start with --data-moved"
        )
    return given


def create_indexes(db: Queue) -> None:
    """Let the server forget a worker that has been silent for the length of its lease, within a minute or two."""
    connection.create_indexes(db.workers, [IndexModel("expires_at", name="gone", expireAfterSeconds=0)])


def name_here() -> str:
    """The name of a worker that is this process: machine and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def take_name(db: Queue, lease: float = 30) -> str:
    """A name for this worker that no live one has: containers with their host's name are all its process 1.

    It is this worker's from now on, for the length of its lease without a word.
    """
    mine = secrets.token_hex(8)
    for number in count(1):
        name = name_here() + (f".{number}" if number > 1 else "")
        while (owner := _taken_by(db, name, mine, lease)) != mine:
            known = db.workers.find_one({"_id": name})
            if known is None or not is_gone(known):
                break
            db.workers.delete_one({"_id": name, "owner": owner})
        if owner == mine:
            return name
    raise AssertionError("numbers end never")


def _taken_by(db: Queue, name: str, mine: str, lease: float) -> str | None:
    """Who has this name now: `mine` if it was nobody's, or its owner has said nothing for the length of its lease."""
    free = {"$lte": [{"$ifNull": ["$expires_at", "$$NOW"]}, "$$NOW"]}
    taken = {
        "owner": {"$cond": [free, mine, "$owner"]},
        "cards": {"$cond": [free, [], "$cards"]},
        "among": {"$cond": [free, {"$literal": _processes()}, "$among"]},
        "expires_at": {"$cond": [free, {"$add": ["$$NOW", round(lease * 1000)]}, "$expires_at"]},
    }
    after: Document | None = db.workers.find_one_and_update(
        {"_id": name}, [{"$set": taken}], upsert=True, return_document=ReturnDocument.AFTER
    )
    return (after or {}).get("owner")


def announce(
    db: Queue,
    worker: str,
    gpus: Sequence[str],
    cpus: int,
    lease: float = 30,
    numbers: Sequence[int] = (),
    avoided: Sequence[str] = (),
    code: str = "",
    lacks: Sequence[Lack] = (),
    has: Mapping[str, str | int] | None = None,
    meets: Sequence[str] = (),
    misses: Sequence[str] = (),
) -> bool:
    """Say, or say again, that a worker is alive and what it has; True if somebody asked it to drain.

    `gpus`: their UUIDs; `numbers`: by which its user knows them; `avoided`: those on which somebody else computes now;
    `code`: what it computes with, in words; `lacks`: what that does not know of runs in the queue; `has`: labels,
    cards, versions; `meets`, `misses`: the classes of demands that it meets, of those that wait, and the others.
    """
    facts: Document = {
        "cards": list(gpus),
        "numbers": list(numbers),
        "avoided": list(avoided),
        "cpus": cpus,
        "among": _processes(),
        "code": code,
        "lacks": [lack._asdict() for lack in lacks[:MOST_LACKS]],
        "has": dict(has or {}),
        "meets": list(meets),
        "misses": list(misses),
    }
    said = {name: {"$literal": value} for name, value in facts.items()}
    update = [{"$set": said | {"seen_at": "$$NOW", "expires_at": {"$add": ["$$NOW", round(lease * 1000)]}}}]
    announced: Document | None = db.workers.find_one_and_update(
        {"_id": worker}, update, upsert=True, return_document=ReturnDocument.AFTER
    )
    return bool(announced and announced.get("drain"))


def size(db: Queue) -> int:
    """About how many workers are alive: a figure that the server has at hand; it counts the dead for a while."""
    return db.workers.estimated_document_count()


def live(db: Queue) -> list[Document]:
    """Those that have been heard of lately, by the server's clock."""
    return list(db.workers.find(HEARD_LATELY))


def is_any_alive(db: Queue) -> bool:
    """Whether a worker has been heard of lately."""
    return db.workers.find_one(HEARD_LATELY, {"_id": 1}) is not None


def sharing(db: Queue, gpus: Sequence[str] | None = None) -> dict[str, list[str]]:
    """GPU -> the workers that were given it, of those that more than one live worker has.

    A GPU's UUID is one in the world, so machines and containers need not be told apart.
    """
    guard: Document = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
    if gpus is not None:
        guard["cards"] = {"$in": list(gpus)}
    users: dict[str, list[str]] = {}
    for worker in db.workers.find(guard, {"cards": 1, "among": 1}).sort("_id"):
        for gpu in () if is_gone(worker) else worker["cards"]:
            users.setdefault(gpu, []).append(worker["_id"])
    return {gpu: names for gpu, names in users.items() if len(names) > 1 and (gpus is None or gpu in gpus)}


def gone_from_here(db: Queue) -> list[str]:
    """The workers of this machine, or of this container, that have no process any more and are not forgotten yet."""
    of_this_host = {"_id": {"$regex": f"^{re.escape(socket.gethostname())}:"}}
    return [str(worker["_id"]) for worker in db.workers.find(of_this_host) if is_gone(worker)]


def is_gone(worker: Document) -> bool:
    """Whether a worker of this machine, or of this container, has no process any more.

    Its document outlives it by the length of its lease; a worker that is started again must not be warned of itself.
    """
    host, _, process = str(worker["_id"]).rpartition(":")
    pid = process.partition(".")[0]  # what follows tells apart who would have one name
    if (host, worker.get("among")) != (socket.gethostname(), _processes()):
        return False
    try:
        os.kill(int(pid), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _processes() -> str:
    """The machine, since its start, and the container in which process ids are unique; empty if unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def describe_sharing(shared: Mapping[str, Sequence[str]]) -> str:
    """One line about GPUs that several workers were given."""
    pairs = "; ".join(f"{gpu} by {' and '.join(names)}" for gpu, names in shared.items())
    return f"a card is used by two workers: {pairs}; start them with other --gpus, or one with --per-gpu"


def drain(db: Queue, workers: Sequence[str]) -> None:
    """Ask workers to claim no more, finish what they run, and leave; they hear it with their next heartbeat.

    Raises:
        ReproError: naming those that are not there; nobody was asked.
    """
    alive = db.workers.distinct("_id")
    if missing := [worker for worker in workers if worker not in alive]:
        raise ReproError(f"no such worker: {', '.join(missing)}; there are: {', '.join(sorted(alive)) or 'none'}")
    db.workers.update_many({"_id": {"$in": list(workers)}}, {"$set": {"drain": True}})


def depart(db: Queue, worker: str) -> None:
    """Say that a worker has left."""
    db.workers.delete_one({"_id": worker})

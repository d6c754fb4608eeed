"""Is MongoDB as the queue needs it? One small check a question; each says what it found and what to do about it.

A check that raises becomes its own error line, so the others go on. Nothing is left behind: the one probe is removed.
Not guaranteed: that a fail-over works. That takes more than one server and a fault.
"""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pymongo.errors import OperationFailure

from repro.scheduler.queue import workers
from repro.scheduler.queue.doctor_report import Check, Health, attempt, error, ok, warning
from repro.scheduler.queue.rights import allowed
from repro.scheduler.runs import INDEXES, told_by
from repro.scheduler.server.connection import UNAUTHORIZED, Queue, server_time

CLOCK_SAMPLES, CLOCK_SECONDS = 5, 1.0
END_OF_LIFE = {5: date(2024, 10, 31), 6: date(2025, 7, 31), 7: date(2027, 8, 31), 8: date(2029, 10, 31)}
LOOPBACK = ("127.0.0.1", "localhost", "::1")

# What a command can't do without, by the collection that it does it to; beside it, who needs it.
NEEDED = {
    ("runs", "find"): "every command",
    ("runs", "insert"): "submit",
    ("runs", "update"): "worker",
    ("settings", "find"): "worker",
    ("settings", "insert"): "worker",
    ("settings", "update"): "worker",
    ("workers", "insert"): "worker",
    ("workers", "update"): "worker",
    ("workers", "remove"): "worker",
    ("logs", "insert"): "worker",
    ("metrics", "insert"): "worker",
}
INDISPENSABLE = {("runs", "find")}


def queue(db: Queue, store: str, data: str | None) -> list[Check]:
    """Every check of a MongoDB that answers; `store` is the root of the results that is set here, `data` that of the
    data, if it is."""
    return [
        attempt("MongoDB", server, db),
        attempt("replica set", topology, db),
        attempt("majority write", majority_write, db),
        attempt("clock", clock, db),
        attempt("roles", roles, db),
        attempt("indexes", indexes, db),
        attempt("store root", store_root, db, store),
        attempt("data root", data_root, db, data),
        attempt("cards", shared_gpus, db),
        attempt("workers' code", workers_code, db),
    ]


def server(db: Queue) -> Check:
    version = str(db.client.server_info()["version"])
    return judge_version(version, ", ".join(f"{host}:{port}" for host, port in _nodes(db)), datetime.now(UTC).date())


def judge_version(version: str, where: str, today: date) -> Check:
    found, major = f"{version} at {where}", int(version.partition(".")[0])
    end = END_OF_LIFE.get(major, date.min if major < min(END_OF_LIFE) else date.max)
    if today <= end:
        return ok("MongoDB", found)
    since = f" since {end}" if end > date.min else ""
    return warning(
        "MongoDB",
        f"{found}, past its end of life{since}",
        "move to a supported version, one major version at a time (for the embedded server: a newer mongod on the "
        "PATH is preferred); until then let it listen on loopback only",
    )


def topology(db: Queue) -> Check:
    hello = db.client.admin.command("hello")
    if hello.get("msg") == "isdbgrid":
        return ok("replica set", "a sharded cluster")
    if name := hello.get("setName"):
        members = len(hello.get("hosts", []))
        return ok("replica set", f"{name}, {members} member{'s' * (members != 1)} with data")
    return warning(
        "replica set",
        "a standalone server: no change streams, so idle workers find new runs by polling",
        "start mongod with --replSet and call rs.initiate(); one member is enough",
    )


def majority_write(db: Queue) -> Check:
    """A write that is acknowledged by a majority, journalled, read back and removed."""
    name, token = "majority write", secrets.token_hex(8)
    began = time.monotonic()
    written = db.settings.update_one({"_id": "probe"}, {"$set": {"token": token}}, upsert=True)
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    try:
        concern = db.settings.write_concern.document
        if not written.acknowledged or concern.get("w") != "majority":
            return error(name, f"not acknowledged by a majority: {concern}", "remove w= from REPRO_MONGO_URL")
        if db.settings.find_one({"_id": "probe", "token": token}) is None:
            return warning(name, f"acknowledged in {took}, then not read back", "ask again: two doctors may have met")
    finally:
        removed = _removed(db)
    return ok(name, f"acknowledged in {took}{'' if removed else '; this user may not remove the probe'}")


def _removed(db: Queue) -> bool:
    """A worker's role need not allow it to delete; the one probe, always of the same name, does no harm."""
    try:
        db.settings.delete_one({"_id": "probe"})
    except OperationFailure as refused:
        if refused.code != UNAUTHORIZED:
            raise
        return False
    return True


def clock(db: Queue) -> Check:
    """How far the clocks are apart; the sample with the shortest way to the server and back is the most exact."""
    samples = [_sample(db) for _ in range(CLOCK_SAMPLES)]
    return judge_clock(*min(samples, key=lambda sample: sample[1]))


def _sample(db: Queue) -> tuple[float, float]:
    """How far the server's clock is ahead, taking half the round trip for the way there; and that half."""
    asked, began = time.time(), time.monotonic()
    server_says = server_time(db).timestamp()
    half = (time.monotonic() - began) / 2
    return server_says - (asked + half), half


def judge_clock(ahead: float, half_round_trip: float) -> Check:
    direction = "ahead of" if ahead > 0 else "behind"
    found = f"the server's is {abs(ahead):.3f} s {direction} this machine's (within {half_round_trip:.3f} s)"
    if abs(ahead) <= CLOCK_SECONDS:
        return ok("clock", found)
    return warning(
        "clock",
        found,
        "leases go by the server's clock, so nothing breaks, but times in logs and files will not agree with the "
        "queue's: keep both machines in step by NTP (chrony)",
    )


def roles(db: Queue) -> Check:
    info = db.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    if users := info["authenticatedUsers"]:
        return judge_roles(str(users[0]["user"]), info["authenticatedUserPrivileges"], db.name)
    try:
        db.runs.find_one({}, {"_id": 1})
    except OperationFailure as refused:
        if refused.code != UNAUTHORIZED:
            raise
        return error("roles", "the server wants a user's name", "put USER:PASSWORD into REPRO_MONGO_URL")
    return judge_open_door([host for host, _ in _nodes(db)])


def judge_open_door(hosts: Iterable[str]) -> Check:
    if all(host in LOOPBACK or host.startswith("/") for host in hosts):
        return ok("roles", "no authentication; the server is on this machine")
    return warning(
        "roles",
        "no authentication: whoever reaches the server may read, change and delete every run",
        "start mongod with --auth, make users, put USER:PASSWORD into REPRO_MONGO_URL",
    )


def judge_roles(user: str, privileges: Sequence[Mapping[str, Any]], database: str) -> Check:
    missing = [need for need in NEEDED if need[1] not in allowed(privileges, database, need[0])]
    if not missing:
        if "changeStream" in allowed(privileges, database, "runs"):
            return ok("roles", f"{user} may do all that submit and worker need")
        return warning(
            "roles",
            f"{user} may not use change streams: its workers find new runs by polling",
            f'grant "changeStream" on {database}.runs',
        )
    lacks = ", ".join(f"{action} {collection} (for {NEEDED[collection, action]})" for collection, action in missing)
    cannot_work = any(NEEDED[need] == "worker" for need in missing)
    useless = not INDISPENSABLE.isdisjoint(missing) or (cannot_work and ("runs", "insert") in missing)
    return Check(
        "roles",
        Health.ERROR if useless else Health.WARNING,
        f"{user} may not: {lacks}",
        f'grant these, or "readWrite" on {database}' + ("" if useless else ", if this user shall do that too"),
    )


def indexes(db: Queue) -> Check:
    existing = db.runs.index_information()
    if not existing:
        return ok("indexes", "none yet; the first submit or worker makes them")
    return judge_indexes(existing)


def judge_indexes(existing: Mapping[str, Any]) -> Check:
    wanted = {str(index.document["name"]): index.document for index in INDEXES}
    if wrong := [name for name in wanted if name in existing and _defined(existing[name]) != _defined(wanted[name])]:
        return error(
            "indexes",
            f"defined otherwise than this version needs: {', '.join(wrong)}",
            f"db.runs.dropIndex({wrong[0]!r}) and so on; the next submit or worker makes them anew",
        )
    if missing := [name for name in wanted if name not in existing]:
        return warning("indexes", f"missing: {', '.join(missing)}", "who may creates them by any submit (see deploy/)")
    return ok("indexes", f"all there: {', '.join(wanted)}")


def _defined(index: Mapping[str, Any]) -> tuple[Any, ...]:
    return dict(index["key"]), list(dict(index["key"])), index.get("partialFilterExpression")


def store_root(db: Queue, url: str) -> Check:
    """That results of this machine's workers go where all others' go."""
    fixed = workers.known_store(db)
    if fixed is None:
        return ok("store root", f"not fixed yet; the first worker fixes it, from here as {url}")
    if fixed["url"] == url:
        return ok("store root", f"{url}, as the queue has it")
    return error(
        "store root", f"this queue keeps its results in {fixed['url']}, not in {url}", f"set REPRO_STORE={fixed['url']}"
    )


def data_root(db: Queue, url: str | None) -> Check:
    """That a config means the same data on this machine as on all others. `url`: what this one says, if anything."""
    fixed = workers.data_root(db, None)
    if fixed is None:
        return ok("data root", "not fixed yet; the first worker with REPRO_DATA, or the first run that reads any, does")
    if url in (None, fixed):
        return ok("data root", f"{fixed}, as the queue has it")
    return error("data root", f"the runs of this queue read their data in {fixed}, not in {url}", "unset REPRO_DATA")


def workers_code(db: Queue) -> Check:
    """Whether the live workers' code knows what is in the queue."""
    alive = workers.live(db)
    lacking = [f"worker {w['_id']} {lack} ({w.get('code')})" for w in alive for lack in told_by(w)]
    if lacking:
        return warning("workers' code", "; ".join(lacking[:3]), "bring its code up to date and start it again")
    return ok("workers' code", f"{len(alive)} alive, and they know all that they have met")


def shared_gpus(db: Queue) -> Check:
    """That no two workers were given one GPU."""
    shared = workers.sharing(db)
    if not shared:
        return ok("cards", "none is used by two workers")
    found, _, advice = workers.describe_sharing(shared).rpartition("; ")
    return warning("cards", found, advice)


def _nodes(db: Queue) -> list[tuple[str, int | None]]:
    return sorted(db.client.nodes, key=str)

"""A real mongod under REPRO_HOME: started on demand, shared by every command with the same home.

Not guaranteed: it has no password, so other users of this machine can connect to it, and one home must
not be shared by two machines. For either, run a MongoDB of your own and set REPRO_MONGO_URL.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from repro.scheduler.server import embedded_folder, mongod
from repro.scheduler.server.mongod import HOST
from repro.stages.errors import Unreachable

START_SECONDS = 60  # the recovery of a large journal takes its time
STOP_SECONDS = 30
SETTLE_SECONDS = 10
LOG_BYTES = 16 << 20  # and as much again for the log before it
NOT_YET_INITIATED = 94

Client = MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class _Server:
    """A server that has answered and holds our data."""

    port: int
    writable: bool


def ensure(home: Path) -> str:
    """The URL of the server of this home, which is started if it is not running.

    Raises:
        Unreachable: there is no mongod, it does not start, or the folder can't be used.
    """
    with embedded_folder.opened(home) as folder:
        server = _ours(folder)
        if server is None or not server.writable:
            with embedded_folder.locked(folder):
                server = _ours(folder) or _start(folder)
                _make_primary(server)
        return _url(server)


def status(home: Path) -> dict[str, Any] | None:
    """What is running for this home, None if nothing is; changes nothing.

    Raises:
        Unreachable: the folder can't be read, or the server went away meanwhile.
    """
    with embedded_folder.opened(home) as folder:
        server = _ours(folder)
        if server is None:
            return None
        with _client(server.port) as client:
            about = client.admin.command("serverStatus")
    return {
        "url": _url(server),
        "pid": int(about["pid"]),
        "version": about["version"],
        "uptime": int(about["uptime"]),
        "connections": about["connections"]["current"],
        "data": str(folder / "data"),
        "log": str(folder / "mongod.log"),
    }


def stop(home: Path) -> bool:
    """Shut the server of this home down and wait until its process is gone; False if none was running.

    Raises:
        Unreachable: it did not end in time, or the folder can't be used.
    """
    with embedded_folder.opened(home) as folder:
        if not folder.exists():
            return False
        with embedded_folder.locked(folder):
            if not embedded_folder.is_in_use(folder):
                return False
            pid = int((folder / "data" / "mongod.lock").read_text())
            _shut_down(folder, pid)
            _wait_until_gone(folder, pid)
            return True


def _start(folder: Path) -> _Server:
    """Start a mongod on our data, again if a dying or starting one, or a program at its port, was in its way."""
    program, data, log = mongod.find(), folder / "data", folder / "mongod.log"
    data.mkdir(mode=0o700, exist_ok=True)
    for _ in range(3):
        # One that a killed command has left behind comes up by itself; a killed one takes a moment to be gone.
        if server := _answer(folder, lambda: embedded_folder.is_in_use(folder), SETTLE_SECONDS):
            return server
        port = embedded_folder.free_port(embedded_folder.recorded_port(folder))
        # Before the start: whoever comes after our sudden death finds the child by it.
        embedded_folder.record_port(folder, port)
        seen = log.stat().st_size if log.exists() else 0
        process = mongod.spawn(program, data, port, log)
        if server := _answer(folder, lambda child=process: child.poll() is None, START_SECONDS):  # type: ignore[misc]
            return server
        why = mongod.reason(log, seen, process.poll())
        if "DBPathInUse" not in why and "Address already in use" not in why:
            break
    raise Unreachable(f"{program} did not start: {why} (its log: {log})")


def _answer(folder: Path, alive: Callable[[], bool], seconds: float) -> _Server | None:
    """Our server, as soon as it answers; None if the one that is waited for dies or takes too long."""
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        if server := _ours(folder):
            return server
        time.sleep(0.02)
    return None


def _make_primary(server: _Server) -> None:
    """Wait until it takes writes. It refuses questions while it loads its configuration: ask again."""
    deadline = time.monotonic() + START_SECONDS
    with _client(server.port) as client:
        while not client.admin.command("hello")["isWritablePrimary"]:
            if time.monotonic() > deadline:
                raise Unreachable(f"the embedded MongoDB at {HOST}:{server.port} does not become primary")
            with contextlib.suppress(OperationFailure):
                _configure(client, f"{HOST}:{server.port}")
            time.sleep(0.02)


def _configure(client: Client, host: str) -> None:
    """A replica set with this one member, moved to another port if the old one was taken meanwhile."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIATED:
            raise
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": host}]})
        return
    if config["members"][0]["host"] != host:
        config["members"][0]["host"] = host
        client.admin.command("replSetReconfig", {**config, "version": config["version"] + 1}, force=True)


def _shut_down(folder: Path, pid: int) -> None:
    server = _ours(folder)
    if server is None:  # left behind while starting, or stuck: mongod takes SIGTERM as a clean shutdown
        os.kill(pid, signal.SIGTERM)
        return
    with _client(server.port) as client, contextlib.suppress(AutoReconnect):  # it hangs up instead of replying
        client.admin.command("shutdown", force=True, timeoutSecs=0)


def _wait_until_gone(folder: Path, pid: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while embedded_folder.is_in_use(folder) or _alive(pid):
        if time.monotonic() > deadline:
            raise Unreachable(f"the embedded MongoDB (process {pid}) does not end; see {folder / 'mongod.log'}")
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """A zombie is not: in a container it may have no parent that waits for it. Its other threads still are."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    process = Path(f"/proc/{pid}")
    try:
        return "State:\tZ" not in (process / "status").read_text() or len(list((process / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()  # gone just now; but without a /proc the signal is what counts


def _ours(folder: Path) -> _Server | None:
    """The server at the recorded port, if it answers and works on our data: a port can change hands."""
    port = embedded_folder.recorded_port(folder)
    if port is None or not embedded_folder.listens(port):
        return None
    try:
        with _client(port) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
            if options.get("storage", {}).get("dbPath") != str(folder / "data"):
                return None
            _bound_log(folder / "mongod.log", client)
            return _Server(port, client.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:  # another service, or a mongod that lets nobody in
        return None


def _bound_log(log: Path, client: Client) -> None:
    with contextlib.suppress(FileNotFoundError):  # deleted by hand, or another command was faster
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
            client.admin.command("logRotate")  # with `--logRotate reopen`: go on in a new file of the old name


def _client(port: int) -> Client:
    return MongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=2000, retryReads=False, appname="repro"
    )


def _url(server: _Server) -> str:
    return f"mongodb://{HOST}:{server.port}/repro?replicaSet=rs0"

"""The folder of the embedded MongoDB under REPRO_HOME: who has its data open, who may start it, at which port it is.

    home/mongo/data         its database          home/mongo/server.json  the port chosen last
    home/mongo/mongod.log   its log, bounded      home/mongo/lock         held while one is started or stopped

Talks to no server.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from pymongo.errors import PyMongoError

from repro.scheduler.server.mongod import HOST
from repro.stages.errors import Unreachable, full_disk
from repro.stages.files import make_home


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Path]:
    """The server's folder, made or not; trouble with it, or with the server meanwhile, becomes one line."""
    folder = Path(os.path.realpath(home)) / "mongo"
    try:
        yield folder
    except OSError as error:
        raise Unreachable(
            f"can't use {error.filename or folder} for the embedded MongoDB: {error.strerror or error}; "
            "set REPRO_HOME to a folder of your own on a local disk, or REPRO_MONGO_URL"
        ) from error
    except PyMongoError as error:
        full = full_disk([str(folder)])
        raise Unreachable(f"the embedded MongoDB of {folder} went away{full or f': {error}'}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one command at a time start or stop the server; the lock ends with its holder, however it ends."""
    make_home(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_in_use(folder: Path) -> bool:
    """Whether a live mongod has our data open; it keeps mongod.lock locked, so a stale file fools nobody."""
    try:
        handle = os.open(folder / "data" / "mongod.lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def recorded_port(folder: Path) -> int | None:
    """The port chosen last, None if none is known."""
    try:
        return int(json.loads((folder / "server.json").read_bytes())["port"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none yet, or cut short by a crash
        return None


def record_port(folder: Path, port: int) -> None:
    """Keep the port for the next command; never half of it, whoever dies."""
    beside = folder / "server.json.new"
    beside.write_text(json.dumps({"port": port}) + "\n")
    beside.replace(folder / "server.json")


def listens(port: int) -> bool:
    """Whether anything takes connections at a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2):
        return True
    return False


def free_port(preferred: int | None) -> int:
    """The port of the last time if it is still free, so that URLs which were noted down stay right."""
    if preferred and _is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mongod does
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
        return True

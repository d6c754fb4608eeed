"""The mongod program: where it is found, how it is started, and why it did not start. Talks to no server."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.stages.errors import Unreachable

HOST = "127.0.0.1"
OPEN_FILES = 64_000  # what mongod asks for; a shell's usual 1,024 would limit its connections
OPTIONS = (
    *("--bind_ip", HOST, "--nounixsocket", "--replSet", "rs0", "--noscripting"),
    *("--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "256"),  # the defaults take half the memory, 5% of the disk
    *("--wiredTigerEngineConfigString", "log=(prealloc=false)"),  # 100 MB of journal instead of 300
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--quiet", "--logappend", "--logRotate", "reopen"),
)


def find() -> str:
    """The mongod on the PATH, else the one from the wheel, which is found without importing it.

    Raises:
        Unreachable: there is neither.
    """
    bundled = (Path(entry) / "fiftyone" / "db" / "bin" / "mongod" for entry in sys.path)
    program = shutil.which("mongod") or next((str(path) for path in bundled if os.access(path, os.X_OK)), None)
    if program is None:
        raise Unreachable(
            "no MongoDB: REPRO_MONGO_URL is not set and there is no mongod on the PATH; either "
            'pip install "repro-queue[embedded]", or install mongod / set REPRO_MONGO_URL to a running server'
        )
    return program


def spawn(mongod: str, data: Path, port: int, log: Path) -> "subprocess.Popen[bytes]":
    """Start a mongod that outlives this process and hears nothing of its terminal.

    A session of its own keeps Ctrl-C and hang-up away, and it inherits no open file, so no lock of ours.
    """
    command = [mongod, "--dbpath", str(data), "--port", str(port), "--logpath", str(log), *OPTIONS]
    with log.open("ab") as early, _many_open_files():  # complaints about options come before its log is open
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=early,
            stderr=early,
            cwd="/",
            close_fds=True,
            start_new_session=True,
            umask=0o077,
        )
    # Waited for whenever it ends: a long-lived starter must not leave a zombie that looks alive.
    threading.Thread(target=process.wait, name="mongod-reaper", daemon=True).start()
    return process


def reason(log: Path, seen: int, status: int | None) -> str:
    """Why a mongod ended: the first error it logged after the first `seen` bytes, else its exit status."""
    with log.open("rb") as file:
        file.seek(seen)
        lines = file.read().decode(errors="replace").splitlines()
    errors = (_error(line) for line in lines if line.strip())
    return next((error for error in errors if error), f"it ended with status {status} and logged no error")


def _error(line: str) -> str | None:
    """What an error line says; lines that are not JSON come from the loader or the option parser."""
    try:
        entry = json.loads(line)
        return _text(entry) if entry["s"] in "EF" else None
    except (ValueError, KeyError, TypeError):
        return line.strip()


def _text(entry: dict[str, Any]) -> str:
    attributes = entry.get("attr", {})
    error = attributes.get("message") or attributes.get("error")
    if isinstance(error, dict):
        error = error.get("errmsg") or ": ".join(error[key] for key in ("msg", "error_str") if key in error)
    return " ".join(str(error or entry["msg"]).split())


@contextlib.contextmanager
def _many_open_files() -> Iterator[None]:
    """Raise the soft limit as far as the hard one allows, for the child that is started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    with contextlib.suppress(OSError, ValueError):  # macOS refuses some values that it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

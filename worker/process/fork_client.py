"""The worker's side of the fork server: start it, ask it for children, read what they report."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.stages.running.environment import common_environment

# It has the worker's own path: what PYTHONPATH names is the project's, and comes first in a stage's process alone.
START = "import sys; sys.path[:] = sys.argv[2:]; from repro.worker.process.fork_server import main; main()"


class ForkServerLost(Exception):
    """The fork server is gone; a new one is started for the next run."""


class Child:
    """One run's process, as its worker sees it."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._pid: int | None = None
        self._killed = self._told_to_stop = False
        self._lock = threading.Lock()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What the child reports, until it has exited; the last line is `{"exit": code}`.

        Raises:
            ForkServerLost: the fork server died, and the child with it.
        """
        with os.fdopen(self._report, "rb") as report:
            for text in report:
                line = _parsed(text)
                if "pid" in line:
                    self._started(line["pid"])
                elif "unborn" in line:
                    raise ForkServerLost(f"no process could be started for the run: {line['unborn']}")
                elif "exit" in line:
                    with self._lock:
                        self._pid = None
                    yield line
                    return
                elif line:
                    yield line
        raise ForkServerLost("the interpreter that runs stages died")

    @property
    def pid(self) -> int | None:
        """Of the process, and of its group; None before it is known and after it has exited."""
        return self._pid

    def kill(self) -> None:
        """SIGKILL to everything in the child's process group; harmless when it is over."""
        with self._lock:
            self._killed = True
            if self._pid is not None:
                _kill_group(self._pid)

    def tell_to_stop(self) -> None:
        """SIGTERM to the child alone: it may leave a checkpoint; one that makes none is ended by it."""
        with self._lock:
            self._told_to_stop = True
            if self._pid is not None:
                _terminate(self._pid)

    def _started(self, pid: int) -> None:
        with self._lock:
            self._pid = pid
            if self._killed:
                _kill_group(pid)
            elif self._told_to_stop:
                _terminate(pid)


class ForkServer:
    """The worker's handle of it: starts the fork server when it is first needed, and again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def prepare(self) -> None:
        """Have it ready for the first run, which would otherwise wait for it for seconds."""
        with self._lock, contextlib.suppress(OSError):
            self._ready()

    def start(self, work: Path, log: Path, granted: Mapping[str, str]) -> Child:
        """Fork a child for the request in `work`; everything that it prints goes to `log`.

        `granted` joins its environment: the GPUs of its slot, and what its stage asks for (`asked_for`). It goes over
        the socket and is never in a file, for it may hold credentials.

        Raises:
            ForkServerLost: no child could be started.
        """
        message = json.dumps({"work": str(work), "environment": dict(granted)}).encode()
        log_handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        try:
            with self._lock:
                socket.send_fds(self._ready(), [message], [report_write, log_handle])
        except OSError as error:
            os.close(report_read)
            raise ForkServerLost(f"no process could be started for the run: {error}") from error
        finally:
            os.close(report_write)
            os.close(log_handle)
        return Child(report_read)

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        """End it and, with it, whatever children are left."""
        if self._process is not None and self._requests is None:
            self._process.kill()  # it is still starting, and `prepare` waits for it
        with self._lock:
            if self._requests is not None:
                self._requests.close()
            if self._process is not None:
                self._process.wait()

    def _ready(self) -> socket.socket:
        if self._requests is None or self._process is None or self._process.poll() is not None:
            self._launch()
        assert self._requests is not None
        return self._requests

    def _launch(self) -> None:
        if self._requests is not None:
            self._requests.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-c", START, str(theirs.fileno()), *sys.path]
        self._process = subprocess.Popen(
            command,
            env=common_environment(os.environ),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        if not ours.recv(16):
            ours.close()
            raise OSError("the interpreter that runs stages did not start")
        self._requests = ours


def _parsed(text: bytes) -> dict[str, Any]:
    """A line of a report; what a killed child left half-written is no line."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _terminate(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)

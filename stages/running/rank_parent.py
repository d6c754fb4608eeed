"""The parent of the processes of a run on several ranks (`rank_child` is one of them).

They are forked by the run's own process, which computes nothing: it waits, passes a wish to stop on to rank 0, and when
one rank ends badly it ends the others, which would wait for that one for ever, and tells its error. They meet through
a file and talk over loopback, in the process group of the run.
"""

import errno
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repro.stages.errors import RankError, StageError, Stopped
from repro.stages.run import Run
from repro.stages.running import rank_child
from repro.stages.running.warming import load_compiler

PATIENCE = 1.0  # seconds after the first bad end in which others may tell theirs: what came first is the cause


@dataclass
class Member:
    """A rank, as the process that forked it sees it.

    Attributes:
        received: the bytes of its message that have come so far.
        message: its only one: a result, an error or nothing; None until it is whole.
        at: when that was, or when it ended without; by the monotonic clock.
        status: its exit code, negative for a signal; None while it lives. A rank that has sent its message stays, and
            keeps its connections open: it might still be in the middle of sending to another, and an error of one is
            not to become an error of all.
    """

    rank: int
    pid: int
    pipe: int
    received: bytes = b""
    message: dict[str, Any] | None = None
    at: float = 0.0
    status: int | None = None

    @property
    def failed(self) -> bool:
        return self.status is not None if self.message is None else "error" in self.message

    def listen(self) -> bool:
        """Read what has come; returns whether that was all."""
        data = os.read(self.pipe, 1 << 16)
        self.received += data
        if self.received.endswith(b"\n"):
            self.message = json.loads(self.received)
            self.at = self.message["at"]
        elif not data:
            self.wait()
            self.at = time.monotonic()
        return not data or self.message is not None

    def wait(self) -> None:
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> None:
        os.close(self.pipe)
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def supervise(run: Run, size: int, compute: Callable[[Run], Any]) -> dict[str, Any]:
    """Let so many ranks compute a run; returns the variables of what rank 0's call returned, as JSON gives them.

    Raises:
        StageError: a rank's own.
        RankError: a rank raised something else, or was killed.
        Stopped: rank 0 was told to stop, and has left a checkpoint.
    """
    beside = run.checkpoints.folder if run.checkpoints else Path(tempfile.gettempdir())
    beside.mkdir(parents=True, exist_ok=True)
    load_compiler()  # once, instead of in every rank
    # No TemporaryDirectory: each rank would take it away at its own end, for it does what is to be done at an exit.
    folder = Path(tempfile.mkdtemp(prefix=".ranks-", dir=beside))
    members: list[Member] = []
    try:
        for rank in range(size):
            members.append(_fork(replace(run, rank=rank, ranks=size), folder / "meeting", members, compute))
        with _passing_on(members[0]) as told_to_stop:
            _follow(members)
        return _verdict(members, told_to_stop)
    finally:
        for member in members:
            member.end()
        shutil.rmtree(folder, ignore_errors=True)


def _fork(run: Run, meeting: Path, others: list[Member], compute: Callable[[Run], Any]) -> Member:
    read, write = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        for other in (read, *(member.pipe for member in others)):
            os.close(other)
        rank_child.live(run, meeting, write, parent, compute)
    os.close(write)
    return Member(run.rank, pid, read)


def _follow(members: list[Member]) -> None:
    """Wait until all have sent their message. Once one has failed, or been stopped, the others are not waited for much
    longer: they may be waiting for that one."""
    until: float | None = None
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member.pipe, selectors.EVENT_READ, member)
        while selector.get_map() and (until is None or time.monotonic() < until):
            for key, _ in selector.select(None if until is None else max(0.0, until - time.monotonic())):
                member = key.data
                if member.listen():
                    selector.unregister(member.pipe)
                    if member.failed:
                        until = until or time.monotonic() + PATIENCE
                    elif "stopped" in (member.message or {}):
                        return


def _verdict(members: list[Member], told_to_stop: list[int]) -> dict[str, Any]:
    """What became of them all."""
    first = members[0]
    message = first.message or {}
    if "stopped" in message:
        raise Stopped(message["stopped"])
    if told_to_stop and first.status == -signal.SIGTERM:  # before it could leave a checkpoint
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    failed = [member for member in members if member.failed]
    if failed:
        # SIGKILL never comes of another's end; whatever else does comes later than that.
        raise _error_of(min(failed, key=lambda member: (member.status != -signal.SIGKILL, member.at)), first)
    return dict(message["result"])


def _error_of(member: Member, first: Member) -> Exception:
    """As the worker, or a user, is to see it; a number of the system's error stays with it."""
    error = member.message and member.message["error"]
    if not error:
        code = member.status or 0
        ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with code {code}"
        killed = RankError(f"rank {member.rank} {ended}")
        killed.__cause__ = OSError(errno.ENOMEM, "out of memory?") if code < 0 else None  # the fault of the machine
        return killed
    if error["type"] == "StageError":
        same = error == (first.message or {}).get("error")  # what is wrong with a config is so on every rank
        return StageError(error["message"] if same else f"rank {member.rank}: {error['message']}")
    raised = RankError(f"rank {member.rank}: {error['type']}: {error['message']}")
    raised.__cause__ = OSError(error["errno"], error["message"]) if "errno" in error else None
    return raised


@contextmanager
def _passing_on(first: Member) -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C to this process ask rank 0 to stop; yields the signals that have come."""
    signals: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        signals.append(number)
        if first.status is None:
            os.kill(first.pid, signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

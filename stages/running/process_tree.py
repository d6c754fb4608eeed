"""Processes that a stage starts end with it, also those that have left its process group or its session.

A process that adopts orphans (prctl(2), PR_SET_CHILD_SUBREAPER) becomes the parent of every descendant whose own parent
has ended. So whatever a run has left is found among the children of the one that started it. Where the kernel is not
Linux, or was built without CONFIG_PROC_CHILDREN, there is nothing but the process group.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # Linux, prctl(2)
PATIENCE = 5.0  # seconds in which a killed process is gone, unless the kernel can't let it go
_libc = ctypes.CDLL(None)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Let this process be killed when the one that forked it dies; if it has died already, at once."""
    if hasattr(_libc, "prctl"):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def children(pid: int) -> list[int]:
    """The processes whose parent this one is now; none where that can't be known."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            found += map(int, file.read_text().split())
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and all that come of it. Each is stopped first, so that none forks in between."""
    stopped: set[int] = set()
    while fresh := [one for one in _with_descendants(pid) if one not in stopped]:
        for one in fresh:
            stopped.add(one)
            _signal(one, signal.SIGSTOP)
    for one in stopped:
        _signal(one, signal.SIGKILL)


def end_orphans(known: Collection[int]) -> None:
    """Kill all children of this process but the known ones, and what comes of them, and wait until they are gone."""
    deadline = time.monotonic() + PATIENCE
    while orphans := [pid for pid in children(os.getpid()) if pid not in known]:
        for pid in orphans:
            kill_tree(pid)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return
        time.sleep(0.001)


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found += children(one)
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)

"""What is noted of a run in processes that its stage forks, the workers of a DataLoader or the ranks, reaches its own.

Each leaves lines in a file in memory which all of them have open. A process that is started anew and not forked, as by
multiprocessing's "spawn" and "forkserver", is not watched.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from typing import Any

from repro.stages.run import Run


class ForkedNotes:
    """From its making on, of the run that this process computes; `close` it."""

    def __init__(self, run: Run) -> None:
        self._run, self._process = run, os.getpid()
        self._file = os.memfd_create("repro-notes")
        # The kernel keeps the place of a file in memory for nobody: two who write at once would write over each other.
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)
        self._identity = os.fstat(self._file)[1:3]
        self._left: set[str] = set()  # in this process
        self._heard = 0  # bytes
        self._hear: dict[str, Callable[..., None]] = {
            "data": run.data_files.note,
            "read": run.params.note,
            "undeclared": run.undeclared.note,
        }
        run.data_files.tell = run.params.tell = run.undeclared.tell = self._leave

    def _leave(self, kind: str, *what: Any) -> None:
        if os.getpid() == self._process:
            return
        line = json.dumps([kind, *what]) + "\n"
        if line not in self._left and self._is_open():
            self._left.add(line)
            os.write(self._file, line.encode())  # a single call: lines of two processes do not mix

    def hear(self) -> None:
        """Note here what has come since the last time: at each fork, so that no later child tells it again."""
        if os.getpid() != self._process or not self._is_open():
            return
        text = os.pread(self._file, os.fstat(self._file).st_size - self._heard, self._heard)
        lines = text[: text.rfind(b"\n") + 1]
        self._heard += len(lines)
        for line in sorted(set(lines.splitlines())):  # in an order that hangs on no process's speed
            kind, *what = json.loads(line)
            self._hear[kind](*what)

    def close(self) -> None:
        if self._is_open():
            os.close(self._file)

    def _is_open(self) -> bool:
        """Not if the stage has closed all files, whosever they are; another may have its number now."""
        with contextlib.suppress(OSError):
            return os.fstat(self._file)[1:3] == self._identity
        return False

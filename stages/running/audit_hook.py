"""How a stage is watched: by Python's audit events, and by the mapping of the environment's variables.

What is seen is judged by `hermetic`.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from repro.stages.run import Run
from repro.stages.running.hermetic import Watch
from repro.stages.source import registry

EVENTS: dict[str, Callable[..., None]] = {
    "open": Watch.opened,
    "os.rename": Watch.moved,
    "os.truncate": Watch.shortened,
    "os.mkdir": Watch.made_folder,
    "socket.connect": Watch.connected,
    "subprocess.Popen": Watch.started,
    "os.fork": lambda watch: watch.forks(),
}

_watch: Watch | None = None  # what the hook reports to: a hook can't be taken away again
_hooked = False


@contextmanager
def watched(run: Run, stage: registry.Stage, forks: Callable[[], None]) -> Iterator[None]:
    """Watch what this process does until the end of the block; `forks` is called before each of its forks."""
    global _watch, _hooked  # noqa: PLW0603 - the interpreter has one list of hooks, and so has this module one watch
    watch = Watch(run, stage.__module__, forks)
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    with suppress(OSError):
        tempfile.gettempdir()  # writes a file, the first time, to see whether it can: no doing of the stage's
    environment = os.environ.__class__
    os.environ.__class__ = _Environment
    _watch = watch
    try:
        yield
    finally:
        _watch = None
        os.environ.__class__ = environment


def _hook(event: str, arguments: Sequence[Any]) -> None:
    if _watch is not None and (note := EVENTS.get(event)):
        note(_watch, *arguments)


class _Environment(os._Environ[str]):
    """`os.environ` while a stage runs: there is no audit event for a look at it."""

    def __getitem__(self, key: str) -> str:
        if _watch is not None:
            _watch.looked_up(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        if _watch is not None:
            _watch.looked_up("*")
        return super().__iter__()

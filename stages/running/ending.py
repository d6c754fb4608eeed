"""The end of a stage's process, as of any Python process, but before its folder is looked at.

Python, when its main thread has come to an end, waits for the other threads that are no daemons, calls what `atexit`
was told, and flushes and closes the files that are still open as it takes the modules apart. Until then nobody can say
what a stage has written.
"""

import atexit
import contextlib
import ctypes
import gc
import io
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Collection
from multiprocessing import util as multiprocessing_util
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # Linux, prctl(2): what loses its parent becomes this process's child
PATIENCE = 10.0  # seconds for killed processes to be gone; one in an uninterruptible call may take longer
_libc = ctypes.CDLL(None)


def forget_inherited() -> None:
    """In a fork: what was registered for the end of the process that forked is not to be done at the end of this one.

    What the standard library does at every process's end stays.
    """
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False
    atexit._clear()
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing_util._exit_function)  # type: ignore[attr-defined]
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]


def finish() -> None:
    """Do all that Python does at the end of a process. Errors in it are printed, and are no failure there either."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    flush_open_files()
    _close_wrappers()
    flush_open_files()


def flush_open_files() -> None:
    """Write out what open files hold back, of Python and of C. None is closed: the process may go on."""
    gc.collect()  # a file that only a circle of objects holds is closed by this
    still_open = _still_open()
    # From the outside in: what text goes to is a buffer's.
    for thing in (*(one for one in still_open if isinstance(one, io.TextIOBase)), *still_open):
        with contextlib.suppress(Exception):  # closed already, or its descriptor is gone: Python says nothing either
            thing.flush()
    _libc.fflush(None)


def _close_wrappers() -> None:
    """Close files that are written in Python, such as gzip's, which have an end to write."""
    for thing in _still_open():
        if type(thing).__module__ not in ("_io", "io"):
            with contextlib.suppress(Exception):
                thing.close()


def _still_open() -> list[io.IOBase]:
    return [thing for thing in gc.get_objects() if issubclass(type(thing), io.IOBase)]


def adopt_orphans() -> None:
    """Become the parent of all that this process's children leave behind, sessions of their own included."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_children(kept: Collection[int] = ()) -> None:
    """Kill all children but these, and what becomes a child by it, and wait until they are gone.

    Of a process that adopts orphans that is everything that it has started and whatever that has started.
    """
    end = time.monotonic() + PATIENCE
    while (left := _children() - set(kept)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
                    time.sleep(0.001)


def _children() -> set[int]:
    me = os.getpid()
    try:
        lists = [path.read_text() for path in Path(f"/proc/{me}/task").glob("*/children")]
        return {int(pid) for text in lists for pid in text.split()}
    except OSError:
        return set()

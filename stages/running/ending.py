"""How the process of a stage ends: as a plain Python process does, and before anything that it wrote is hashed.

The process was forked and leaves by `os._exit`, for the end of an interpreter with torch in it takes longer than many a
stage. So what Python would do is done here: threads that are no daemons are waited for, functions registered with
`atexit` are called, the project's modules are torn down, which closes what they hold, and files still open are flushed.
"""

import atexit
import contextlib
import ctypes
import gc
import io
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Iterable
from itertools import takewhile

_before = ""  # the module that was loaded last before the fork
STANDARD = (0, 1, 2)


def begin() -> None:
    """Call this right after the fork: what is registered belongs to the parent, and is not this process' to run."""
    global _before  # noqa: PLW0603 - one process has one end
    _before = next(reversed(sys.modules))
    atexit._clear()
    # What libraries register once when they are imported, for the objects that this process makes from now on.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)
    if util := sys.modules.get("multiprocessing.util"):
        util._finalizer_registry.clear()
        atexit.register(util._exit_function)


def finish() -> None:
    """Do what the interpreter would do at its end. An error there is printed and changes nothing, as with Python."""
    for step in (threading._shutdown, atexit._run_exitfuncs, _tear_down, _close_files):  # type: ignore[attr-defined]
        try:
            step()
        except Exception:
            with contextlib.suppress(Exception):  # the log may be closed
                traceback.print_exc()


def _tear_down() -> None:
    """Empty the modules of the project, as Python does: objects that only they hold are ended."""
    from repro.stages.source.modules import is_installed

    fresh = list(takewhile(lambda name: name != _before, reversed(sys.modules)))
    loaded = [sys.modules[name] for name in fresh]
    mine = [module for module in loaded if (file := getattr(module, "__file__", None)) and not is_installed(file)]
    for module in mine:
        for name in [name for name in vars(module) if not name.startswith("__")]:
            vars(module)[name] = None
    gc.collect()


def _close_files() -> None:
    opened = [thing for thing in gc.get_objects() if issubclass(type(thing), io.IOBase)]
    layers: tuple[Iterable[io.IOBase], ...] = (
        [file for file in opened if type(file).__module__ != "_io"],  # what compresses, say, writes into another
        [file for file in opened if type(file) is io.TextIOWrapper],
        [file for file in opened if type(file) in (io.BufferedWriter, io.BufferedRandom)],
    )
    for layer in layers:
        for file in layer:
            with contextlib.suppress(Exception):  # closed, or a broken pipe: nobody is left to be told
                _end(file)
    ctypes.CDLL(None).fflush(None)


def _end(file: io.IOBase) -> None:
    if file.closed or not file.writable():
        return
    file.flush()
    if type(file).__module__ != "_io":
        file.close()

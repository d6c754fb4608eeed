"""Clocks that are wrong: programs that are started under libfaketime (Debian's package faketime).

Only the time of day is shifted, as by a wrong clock; a machine's monotonic clock knows no time of day.
"""

import shlex
from pathlib import Path

LIBRARIES = ("libfaketimeMT.so.1", "libfaketime.so.1")
FOLDERS = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


def library() -> str | None:
    """The one for programs with threads, where there is one."""
    paths = (Path(folder) / name for folder in FOLDERS for name in LIBRARIES)
    return next((str(path) for path in paths if path.exists()), None)


def environment(seconds: float) -> dict[str, str]:
    """What a program is to find in its environment so that its clock is off by so many seconds."""
    preloaded = library()
    assert preloaded is not None
    return {
        "LD_PRELOAD": preloaded,
        "FAKETIME": f"{seconds:+g}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # or waits of some programs never end
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # or those of mongod end at once, and it spins
        "FAKETIME_DISABLE_SHM": "1",  # nothing is shared with other programs
        "NO_FAKE_STAT": "1",
    }


def wrapped(program: str, seconds: float, script: Path) -> str:
    """A script that is the program with a shifted clock, and has its process id."""
    words = [f"{key}={shlex.quote(value)}" for key, value in environment(seconds).items()]
    script.write_text(f'#!/bin/sh\nexec env {" ".join(words)} {shlex.quote(program)} "$@"\n')
    script.chmod(0o755)
    return str(script)

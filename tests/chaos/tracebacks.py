"""The tracebacks in a worker's log: there is to be none but what the database driver's own threads leave there.

Python prints what ends a thread that nobody waits for: those by which pymongo keeps its pool when a connection is
cut at an odd moment, for example. No code of the product is on such a thread, and none could catch it.
"""

import re

_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+.*$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*?)", line', re.MULTILINE)


def ours(text: str) -> list[str]:
    """Those that have passed through code of the product or of a stage, and those of nobody known."""
    return [found for found in _TRACEBACK.findall(text) if not _is_the_drivers(_FRAME.findall(found))]


def _is_the_drivers(paths):
    """Whether all its frames are the driver's, or of the thread that it has begun."""
    drivers = ["/pymongo/" in path for path in paths]
    return any(drivers) and all(its or path.endswith("/threading.py") for its, path in zip(drivers, paths, strict=True))

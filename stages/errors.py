"""Errors that reach a user as one line: what failed, on what, and what to do."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from repro.stages.plain import clean

MOST_CAUSES = 1000
FULL = (errno.ENOSPC, errno.EDQUOT)
# What the system refuses because of the machine, its disks or its rights, which is nobody's programming error.
REFUSALS = {
    *(*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ENOTDIR),
    *(errno.EMFILE, errno.ENFILE, errno.ELOOP, errno.ENOMEM),
}
# What torch says of an operation that has no deterministic form, and what it can't know.
DETERMINISTIC, OUR_KEY = "torch.use_deterministic_algorithms", '; in a config the key is "deterministic": false'
NEARLY_NOTHING = 1 << 20  # bytes that are free where a disk is called full
BUSY = (429, 500, 502, 503, 504)  # HTTP: ask again later


class ReproError(Exception):
    """Refused input: nothing was inserted, nothing was written."""

    exit_code = 2


class ConfigError(ReproError):
    """A config that breaks a rule; the message names the file, the key and the reason."""


class StageError(ReproError):
    """A stage can't go on, through its config or its inputs; the same config would fail again."""

    exit_code = 1


class RankError(ReproError):
    """One of several ranks was killed, or raised what is no StageError; its traceback is in the log."""

    exit_code = 1


class RunFailed(ReproError):
    """A run that was waited for did not end well, or a check found a difference."""

    exit_code = 1


class Unreachable(ReproError):
    """MongoDB or the store can't be reached."""

    exit_code = 3


class Stopped(BaseException):
    """A stage was told to stop and has left a checkpoint; no error, so that nothing that handles errors keeps it."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


def describe(error: BaseException) -> dict[str, Any]:
    """Type and message, cut and cleaned, with the number of the system's error that it came from, if there is one."""
    name = clean(type(error).__name__, 200)
    message = _text(error) or name
    description: dict[str, Any] = {"type": name, "message": message + (OUR_KEY if DETERMINISTIC in message else "")}
    for cause in _causes(error):  # libraries wrap what the system told them
        if number := _errno(cause):
            return description | {"errno": number}
    return description


def refusal(error: OSError) -> str | None:
    """What the system refuses, where, in one line; None if the error is of another kind."""
    if error.errno not in REFUSALS:
        return None
    where = f"{clean(os.fsdecode(error.filename))}: " if error.filename else ""
    return f"{where}{error.strerror}{_full_places(error)}"


def _full_places(error: BaseException) -> str:
    """Which disks are full, where the system says only that one is: a file's `write` knows no name."""
    if not isinstance(error, OSError) or error.errno not in FULL or error.filename:
        return ""
    places = []
    for find in (os.getcwd, tempfile.gettempdir):
        with suppress(OSError):  # a folder that is gone, or no temporary one that can be written
            places.append(find())
    return full_disk(places)


def full_disk(places: Iterable[str]) -> str:
    """The end of a message that says which of these places have no room left; empty if all of them have."""
    full = []
    for place in dict.fromkeys(places):
        with suppress(OSError):
            disk = os.statvfs(place)
            if disk.f_bavail * disk.f_frsize < NEARLY_NOTHING:
                full.append(place)
    return f"; the disk of {' and of '.join(full)} is full" if full else ""


def _errno(error: BaseException) -> int | None:
    """The number of the system's error that it is, or means: libraries have names of their own for a network's."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if "gaierror" in names:  # its own numbers mean other things
        return errno.EHOSTUNREACH
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if names & {"TimeoutError", "Timeout", "HTTPClientError", "TimeoutException", "ServerTimeoutError"}:
        return errno.ETIMEDOUT
    if names & {"ConnectionError", "NetworkError", "ClientConnectionError"}:
        return errno.ECONNRESET
    return errno.EBUSY if _status(error) in BUSY else None


def _status(error: BaseException) -> object:
    """The status with which a server refused, as HTTP libraries and botocore keep it."""
    try:
        response: Any = getattr(error, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        given = [getattr(one, name, None) for one in (error, response) for name in ("status", "status_code", "code")]
        return next((status for status in given if isinstance(status, int)), None)
    except Exception:  # it is somebody else's code
        return None


def _text(error: BaseException) -> str:
    try:
        return clean(str(error) + _full_places(error))
    except Exception as broken:  # it is somebody else's code
        return f"(its message can't be told: {type(broken).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, each once: they may be each other's cause."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)

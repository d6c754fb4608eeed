"""Errors that reach a user as one line: what failed, on what, and what to do."""

import errno
from typing import Any


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
    """Type and message, with the number of the system's error that it came from, if there is one."""
    description: dict[str, Any] = {"type": type(error).__name__, "message": str(error) or type(error).__name__}
    cause: BaseException | None = error
    while cause is not None and "errno" not in description:  # libraries wrap what the system told them
        if isinstance(cause, OSError) and cause.errno:
            description["errno"] = cause.errno
        elif isinstance(cause, MemoryError):
            description["errno"] = errno.ENOMEM
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return description

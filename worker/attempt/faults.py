"""Whose fault it is that an attempt did not end well: the machine's, so that another attempt may, or the run's own."""

import errno
import signal
from typing import Any

from repro.scheduler.server.connection import Document
from repro.stages.errors import StageError, Unreachable
from repro.stages.running.own_process import signal_name
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import HANDED_BACK, Failed, MachineFault, Outcome
from repro.worker.process.fork_client import ForkServerLost
from repro.worker.store.interruption import Interrupted

# What the system refuses a stage because of the machine, its disk or its network: elsewhere, or later, it may go well.
# Memory is one of them, for SIGKILL, the kernel's other way to refuse it, is one too.
MACHINE_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOMEM, errno.ENFILE),
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EHOSTUNREACH),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EBUSY),
}
# Ends that somebody else gives to a process: the kernel for want of memory, a person, the machine's going down. All
# other signals come of what the process itself did, and would come again.
FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPWR}
CARD_IS_FULL = "OutOfMemoryError"  # of torch
TYPES: dict[type[Exception], str] = {ForkServerLost: "Lost"}  # what documents call an error that has another name here


def outcome_of_exit(last: dict[str, Any], leaving: bool = False, shares_card: bool = False) -> Outcome | None:
    """What the child's last words mean; None if it ended well. One that was told to stop may end by that signal.

    Args:
        shares_card: whether other runs may have taken the memory of its card.
    """
    code = last["exit"]
    if "stopped" in last or (leaving and code < 0):
        return HANDED_BACK
    if code < 0:
        hint = "; out of memory?" if -code == signal.SIGKILL else ""
        error = {"type": "Killed", "message": f"the stage's process was killed by {signal_name(-code)}{hint}"}
        return MachineFault(error) if -code in FROM_OUTSIDE else Failed(error)
    if code == 0 and "result" in last:
        return None
    error = last.get("error") or {"type": "Exited", "message": f"the stage's process left with code {code}"}
    shown = {key: value for key, value in error.items() if key != "errno"}
    machine = error.get("errno") in MACHINE_ERRORS or (shares_card and error["type"] == CARD_IS_FULL)
    return MachineFault(shown) if machine else Failed(shown)


def outcome_of_error(error: Exception, attempt: Attempt) -> Outcome:
    """What an error means that the worker itself met while it executed an attempt."""
    if isinstance(error, StageError):
        return Failed(_document(error))
    if isinstance(error, OSError | ForkServerLost | Unreachable | Interrupted):
        return attempt.stopped or (HANDED_BACK if attempt.leaving else MachineFault(_document(error)))
    return Failed(_document(error))  # of a document that nobody foresaw: another attempt would meet it again


def _document(error: Exception) -> Document:
    name = TYPES.get(type(error), type(error).__name__)
    return {"type": name, "message": str(error) or name}

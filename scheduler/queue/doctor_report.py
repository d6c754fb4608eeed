"""What a check of the doctor says, and what becomes of a check that raises. `doctor_mongodb` has the checks of the
queue, `worker/audit/doctor_machine` those of a machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from repro.scheduler.server.connection import UNAUTHORIZED, reachable
from repro.stages.errors import ReproError

PATIENCE = 5.0  # seconds for one check: a server that has stalled must not stall the doctor


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Check:
    """One line of `repro doctor`."""

    name: str
    state: Health
    found: str
    advice: str = ""  # what to do; empty where all is well


def ok(name: str, found: str) -> Check:
    return Check(name, Health.OK, found)


def warning(name: str, found: str, advice: str) -> Check:
    return Check(name, Health.WARNING, found, advice)


def error(name: str, found: str, advice: str) -> Check:
    return Check(name, Health.ERROR, found, advice)


def attempt(name: str, check: Callable[..., Check], *arguments: Any) -> Check:
    """What a check says; whatever it raises becomes its error line.

    What this user may not do is a warning only: `roles` says whether it matters.
    """
    try:
        with pymongo.timeout(PATIENCE), reachable():
            return check(*arguments)
    except Exception as raised:
        if isinstance(cause := raised.__cause__, OperationFailure) and cause.code == UNAUTHORIZED:
            return warning(name, "this user may not look", "see roles")
        return failed(name, raised)


def failed(name: str, raised: Exception) -> Check:
    """An exception as an error line. Our own messages end with what to do, after a semicolon."""
    text = " ".join(str(raised).split())
    if isinstance(raised, ReproError):
        found, _, advice = text.rpartition("; ")
        return error(name, found, advice) if found else error(name, text, "put that right, then ask again")
    found = f"{type(raised).__name__}: {text}"[:300]
    return error(name, found, "this check did not expect that; please report it")

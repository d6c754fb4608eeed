"""Parts of the pipelines that transitions send, which the server evaluates: times, the history, the backoff."""

from collections.abc import Mapping
from typing import Any

from repro.scheduler.server.connection import Document

Pipeline = list[Mapping[str, Any]]

BACKOFF = 5.0  # seconds until another attempt after a fault of the machine; doubles with every attempt
DOUBLINGS = 9  # at most: three quarters of an hour
HISTORY = 50  # entries kept; a document must not grow without bound
NOW = "$$NOW"


def backoff(first: int) -> Document:
    """Seconds until the next attempt: BACKOFF after the attempt of this number, doubled after each later one.

    With jitter, so that many runs do not come back at once.
    """
    doubled = {"$pow": [2, {"$min": [{"$subtract": ["$attempts", first]}, DOUBLINGS]}]}
    return {"$multiply": [BACKOFF, doubled, {"$add": [0.5, {"$rand": {}}]}]}


CLAIMED = {"from_step": "$checkpoint.step"}  # what the history notes of an attempt, as far as it is known
ENDED = {"step": "$progress.step", "cards": "$cards"}


def history(to: str, noted: Mapping[str, str] | None = None, **facts: Any) -> Document:
    """The history with one more entry, the oldest dropped past the bound; `noted`: fields of the document as it is."""
    field: Any = to if to.startswith("$") else {"$literal": str(to)}
    entry = (
        {"at": NOW, "to": field} | literals({key: value for key, value in facts.items() if value}) | dict(noted or {})
    )
    return {"$slice": [{"$concatArrays": ["$history", [entry]]}, -HISTORY]}


def literals(fields: Mapping[str, Any]) -> Document:
    """A caller's values in a pipeline are data: without `$literal` the string "$_id" would be evaluated."""
    return {key: {"$literal": value} for key, value in fields.items()}


def later(seconds: float) -> Document:
    """The time so many seconds from now."""
    return {"$add": [NOW, round(seconds * 1000)]}


def milliseconds(seconds: Any) -> Document:
    """Of seconds that are an expression themselves."""
    return {"$toLong": {"$multiply": [seconds, 1000]}}

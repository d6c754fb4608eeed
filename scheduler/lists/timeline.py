"""A run's history as attempts: when each began and ended, where, how far it came, and what lay between them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from repro.scheduler.runs import State


@dataclass
class Attempt:
    """
    Attributes:
        number: the first is 1.
        waited: seconds that the run was pending before it.
        outcome: the state that followed; None while it lasts.
        from_step: the step that it was to go on from; step: the last one that it told.
    """

    number: int
    began: datetime
    worker: str
    waited: float | None = None
    from_step: int | None = None
    ended: datetime | None = None
    outcome: str | None = None
    why: str = ""
    step: int | None = None
    cards: Sequence[str] = ()
    token: str = ""

    @property
    def seconds(self) -> float | None:
        return (self.ended - self.began).total_seconds() if self.ended else None


@dataclass
class Event:
    """What else happened, or what users did."""

    at: datetime
    to: str
    by: str
    why: str


@dataclass
class Timeline:
    """`forgotten`: whether the history is too long to hold its beginning."""

    attempts: list[Attempt] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    forgotten: bool = False


def timeline(run: Mapping[str, Any]) -> Timeline:
    """The attempts and events of a run's document."""
    found, pending_since = Timeline(), None
    history = run.get("history") or []
    for entry in history:
        last = found.attempts[-1] if found.attempts else None
        if entry["to"] == State.RUNNING:
            began = Attempt(len(found.attempts) + 1, entry["at"], entry.get("by") or "", token=entry.get("token") or "")
            began.waited = (entry["at"] - pending_since).total_seconds() if pending_since else None
            began.from_step = entry.get("from_step")
            found.attempts.append(began)
        elif last and last.ended is None:
            last.ended, last.outcome, last.why = entry["at"], entry["to"], entry.get("why") or ""
            last.step, last.cards = entry.get("step"), entry.get("cards") or ()
            if entry.get("by"):
                last.why = last.why or f"by {entry['by']}"
        else:
            found.events.append(Event(entry["at"], entry["to"], entry.get("by") or "", entry.get("why") or ""))
        if entry["to"] == State.PENDING and (last is None or last.outcome or pending_since is None):
            pending_since = entry["at"]
        elif entry["to"] != State.PENDING:
            pending_since = None
    found.forgotten = bool(history) and history[0]["to"] == State.RUNNING
    if found.attempts and found.attempts[-1].ended is None:
        _of_now(found.attempts[-1], run)
    return found


def _of_now(attempt: Attempt, run: Mapping[str, Any]) -> None:
    """What of the attempt that is under way stands in the document itself."""
    attempt.step = (run.get("progress") or {}).get("step")
    attempt.cards = run.get("cards") or ()

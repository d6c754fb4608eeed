"""What has happened, in the order in which it was heard; nothing here is ever taken back.

All times are this process's monotonic clock, for the servers' clocks may be wrong, and jump.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """A change of a run's document: as it stood right after it; None if it was deleted."""

    at: float
    name: str
    run: Document | None


@dataclass(frozen=True)
class Written:
    """An object of the store, as it was when it was first seen, or seen to have another content; None: it is gone."""

    at: float
    path: str
    sha256: str | None


@dataclass
class Life:
    """A worker's process, under the name that its leases carry; `stops` are the times for which it was stopped."""

    worker: str
    started: float
    ended: float | None = None
    killed: bool = False
    stops: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Trouble:
    """A time in which no worker could reach a server, or (`jump`) the server's clock moved by so many seconds."""

    start: float
    end: float
    what: str
    jump: float = 0.0


@dataclass
class History:
    lease: float
    began: float = 0.0
    ended: float = 0.0
    attempted: set[str] = field(default_factory=set)  # names of runs that were to be submitted
    acknowledged: set[str] = field(default_factory=set)  # those of them of which a submitter was told that they are
    events: list[Event] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    witnessed: dict[str, dict[str, str]] = field(default_factory=dict)  # attempt's folder -> path -> SHA-256

    def hear_witnesses(self, folder: Path) -> None:
        """What stages have told of what they wrote, into a folder of their own (`toy._bear_witness`)."""
        self.witnessed = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}

    def steps(self) -> list[tuple[Event, Document]]:
        """Each event with the run's document as it stood before; empty for one that was not there."""
        before: dict[str, Document] = {}
        found = []
        for event in self.events:
            found.append((event, before.get(event.name, {})))
            before[event.name] = event.run or {}
        return found

    def claims(self) -> list[tuple[Event, Document]]:
        """The steps by which a run got a token."""
        return [(e, b) for e, b in self.steps() if token(e.run) not in (None, token(b))]


@dataclass(frozen=True)
class Final:
    """How everything stands in the end: every document, every object's SHA-256, the manifests."""

    runs: dict[str, Document]
    objects: dict[str, str]  # path below the store's root -> SHA-256
    sizes: dict[str, int]
    folders: set[str]
    manifests: dict[str, Document]  # folder -> what its repro-run.json says
    root: str  # the store's URL
    uploads: set[str]  # paths of objects whose upload was begun and not ended; nobody sees them

    def path_of(self, url: str) -> str:
        """The path of an object or a folder, from its URL."""
        return url.removeprefix(f"{self.root}/")


def token(run: Document | None) -> str | None:
    return ((run or {}).get("lease") or {}).get("token")


def holder(run: Document | None) -> str | None:
    """The worker that holds a run."""
    return ((run or {}).get("lease") or {}).get("worker")

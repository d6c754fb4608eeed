"""What a store and a home hold that nothing needs, and its removal.

Never removed, whatever its age: a folder that a document or another run's manifest names anywhere, the attempt
that a run is running in, and what this queue knows nothing of: a folder of a run without a document, or of
another computation than the document's. Those may be another queue's, or all that a lost database has left.

Why a check right before the removal is enough: a folder is made after the claim whose token it is named after.
When its run's document does not hold that token any more, no transition can name the folder again; `restore`
could, but it inserts only where there is no document, and there nothing is removed.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler import rebuild
from scheduler.mongo import Document, Queue
from scheduler.runs import State
from stages.errors import ReproError, Unreachable
from stages.run import MANIFEST
from worker.storage import LocalStore, attempt_folders, footprint, local_path

WORK = "work"  # below the home: where stages run


@dataclass(frozen=True)
class Leftover:
    """A folder that nothing needs, or, with `kept`, one that is left for its user to judge."""

    location: str
    size: int
    age: float  # seconds since the last change of anything inside
    why: str
    kept: bool = False


@dataclass
class Collector:
    """`older_than`: seconds for which nothing inside may have changed."""

    db: Queue
    store: LocalStore
    home: Path
    older_than: float
    _named: dict[str, set[str]] = field(default_factory=dict)  # folder -> who names it

    def plan(self) -> list[Leftover]:
        """What nothing needs. Folders are listed before documents are read: what comes later is in neither."""
        attempts = self.store.attempts()
        works = [f"file://{path}" for path in attempt_folders(self.home / WORK)]
        self._named = {}
        for location in attempts:
            self._note(location, self._manifest(location))
        known = {document["_id"]: self._known(document) for document in rebuild.references(self.db)}
        found = [self._judge(location, known.get(_run_of(location))) for location in attempts + works]
        return [leftover for leftover in found if leftover]

    def delete(self, planned: list[Leftover]) -> list[Leftover]:
        """Remove what was planned and is still not needed; returns what was removed.

        Raises:
            ReproError: the queue is empty and the store is not: the database was lost.
            Unreachable: a folder can't be removed.
        """
        if rebuild.is_empty(self.db) and self.store.attempts():
            raise ReproError("the queue has no runs but the store has results: nothing is removed; run repro rebuild")
        return [leftover for leftover in planned if not leftover.kept and self._remove(leftover)]

    def _remove(self, leftover: Leftover) -> bool:
        documents = rebuild.references(self.db, _run_of(leftover.location))
        known = next((self._known(document) for document in documents), None)
        again = self._judge(leftover.location, known)
        if again is None or again.kept:
            return False
        try:
            if self._is_work(leftover.location):
                shutil.rmtree(local_path(leftover.location))
            else:
                self.store.remove(leftover.location)
        except OSError as error:
            raise Unreachable(f"{local_path(leftover.location)} can't be removed: {error.strerror}") from error
        return True

    def _judge(self, location: str, document: Document | None) -> Leftover | None:
        """None for what is needed or too young."""
        if self._is_needed(location, document):
            return None
        try:
            size, changed = footprint(local_path(location))
        except FileNotFoundError:
            return None  # somebody else removed it
        age = time.time() - changed
        if age < self.older_than:
            return None
        why, kept = self._reason(location, document)
        return Leftover(location, size, age, why, kept)

    def _reason(self, location: str, document: Document | None) -> tuple[str, bool]:
        """Why a folder is a leftover, and whether it stays nevertheless."""
        if document is None:
            return f"{_run_of(location)} has no document; see repro rebuild", True
        if self._is_work(location):
            return "work folder of an attempt that has ended", False
        if not self.store.complete(location):
            return "unfinished attempt", False
        if (self._manifest(location) or {}).get("fingerprint") != document["fingerprint"]:
            return "run.json is broken or of another computation", True
        return f"complete, but its run is {document['state']} without it", False

    def _is_needed(self, location: str, document: Document | None) -> bool:
        running = document is not None and document["state"] == State.RUNNING
        if running and document and location.endswith(f"-{document['lease']['token'][:8]}"):
            return True
        return not self._is_work(location) and bool(self._named.get(location, set()) - {location})

    def _is_work(self, location: str) -> bool:
        return local_path(location).parent == self.home / WORK

    def _known(self, document: Document) -> Document:
        """What is kept of a document; what it names is noted."""
        self._note(f"document {document['_id']}", document)
        return {key: document[key] for key in ("state", "fingerprint", "lease") if key in document}

    def _note(self, who: str, found: Any) -> None:
        """Every text in a document or manifest that is a place in the store names that place's folder."""
        root = f"{self.store.root}/"
        for text in _texts(found):
            path = text.removeprefix("file://")
            if path.startswith(root):
                folder = path.removeprefix(root).partition("/")[0]
                self._named.setdefault(f"{self.store.url}/{folder}", set()).add(who)

    def _manifest(self, location: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = json.loads(self.store.read(location, MANIFEST))
            return found if isinstance(found, dict) else None
        return None


def _run_of(location: str) -> str:
    return location.rpartition("/")[2].rpartition("-")[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)

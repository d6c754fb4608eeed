"""What a store and a home hold that nothing needs, and its removal.

A checkpoint is dead if the folder that it lies in is complete, or if two newer whole ones lie in that folder. As long
as a run may go on from a checkpoint, the folder stays: the run's document names the checkpoint, or its history the
attempt.

Never removed, whatever its age: a folder that a document or the manifest of another run names; the folder of the
attempt that a run is running in; and what this queue knows nothing of: a folder of a run without a document, or of
another computation than the document's. Those may belong to another queue, or be all that is left of a lost database.

Why a check right before the removal is enough: a folder is made after the claim whose token it is named after.
When its run's document does not hold that token any more, no transition can name the folder again; `restore`
could, but it inserts only where there is no document, and there nothing is removed.
"""

import contextlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.scheduler.queue import audits
from repro.scheduler.runs import FINAL, RunDocument, State
from repro.scheduler.server.connection import Queue
from repro.stages.errors import ReproError, Unreachable
from repro.stages.own_files import CONFIG, MANIFEST
from repro.worker.audit import store_recovery
from repro.worker.store import checkpoint_store
from repro.worker.store.objects import MANY, StoredObject
from repro.worker.store.store import ATTEMPT, PROBES, Mark, Store

WORK = "work"  # below the home: where stages run


@dataclass(frozen=True)
class Leftover:
    """A folder that nothing needs, or, with `kept`, one that is left for its user to judge."""

    location: str
    size: int
    age: float  # seconds since the last change of anything inside
    why: str
    kept: bool = False
    upload: StoredObject | None = None  # an upload that was not ended; `location` tells where it would lie
    checkpoint: bool = False


@dataclass
class Collector:
    """What of a store and a home nothing needs, and its removal.

    Attributes:
        older_than: seconds for which nothing inside may have changed.
        sole: whether all in the store is this queue's. Where it is not known to be, only what a document remembers to
            have begun is its own: another queue may have a run of the same name and fingerprint.
    """

    db: Queue
    store: Store
    home: Path
    older_than: float
    sole: bool = False
    _named: dict[str, set[str]] = field(default_factory=dict)  # folder -> who names it

    def plan(self) -> list[Leftover]:
        """What nothing needs. Folders are listed before documents are read: what comes later is in neither."""
        attempts, uploads = self.store.attempts(), self.store.objects.unfinished()
        work_folders = [f"file://{path}" for path in attempt_folders(self.home / WORK)]
        self._named = {}
        for mark in self.store.marks(attempts):
            if isinstance(mark, Mark):
                self._note(mark.location, _parsed(mark))
        known = {document["_id"]: self._known(document) for document in audits.references(self.db)}
        judged = [self._judge(location, known.get(_run_of(location))) for location in attempts + work_folders]
        judged += [self._judge_upload(upload, known.get(_run_of(self._folder_of(upload)))) for upload in uploads]
        gone = {leftover.location for leftover in judged if leftover and not leftover.kept}
        judged += self._dead_checkpoints([location for location in attempts if location not in gone])
        judged += [self._judge_probe(probe) for probe in self.store.objects.listing(PROBES)]
        return [leftover for leftover in judged if leftover]

    def delete(self, planned: list[Leftover]) -> list[Leftover]:
        """Remove what was planned and is still not needed; returns what was removed.

        Raises:
            ReproError: the queue is empty and the store is not: the database was lost.
            Unreachable: a folder can't be removed.
        """
        if audits.is_empty(self.db) and self.store.attempts():
            raise ReproError("the queue has no runs but the store has results: nothing is removed; run repro rebuild")
        return [leftover for leftover in planned if not leftover.kept and self._remove(leftover)]

    def _dead_checkpoints(self, attempts: list[str]) -> list[Leftover]:
        """The dead checkpoints in folders that stay."""
        with ThreadPoolExecutor(MANY) as threads:
            listed = zip(attempts, threads.map(self.store.contents, attempts), strict=True)
            return [dead for location, contents in listed for dead in self._dead_in(location, contents)]

    def _dead_in(self, location: str, contents: list[StoredObject]) -> Iterator[Leftover]:
        names = {object_.key.partition("/")[2] for object_ in contents}
        if CONFIG not in names:  # a folder of earlier days: what lies below `checkpoints/` may be outputs
            return
        done = MANIFEST in names
        if not (self.sole or self._remembers(location)):
            return
        why = "a checkpoint of a run that is done" if done else "a checkpoint that newer ones have made useless"
        for place in checkpoint_store.dead(contents, self.store.url, done):
            parts = [object_ for object_ in contents if f"{self.store.url}/{object_.key}".startswith(f"{place}/")]
            age = time.time() - max(part.modified for part in parts)
            if age >= self.older_than:
                yield Leftover(place, sum(part.size for part in parts), age, why, checkpoint=True)

    def _remove_checkpoint(self, leftover: Leftover) -> bool:
        """A dead checkpoint stays dead: only newer ones are added to a folder."""
        checkpoint_store.remove(self.store, leftover.location)
        return True

    def _remove(self, leftover: Leftover) -> bool:
        if leftover.checkpoint:
            return self._remove_checkpoint(leftover)
        if leftover.upload or leftover.location.startswith(f"{self.store.url}/{PROBES}/"):
            return self._remove_object(leftover)
        documents = audits.references(self.db, _run_of(leftover.location))
        known = next((self._known(document) for document in documents), None)
        again = self._judge(leftover.location, known)
        if again is None or again.kept:
            return False
        try:
            if self._is_work(leftover.location):
                shutil.rmtree(_path(leftover.location))
            else:
                self.store.remove(leftover.location)
        except OSError as error:
            raise Unreachable(f"{leftover.location} can't be removed: {error.strerror}") from error
        return True

    def _remove_object(self, leftover: Leftover) -> bool:
        """No second look is needed: no document names these, and a run never gets an earlier token back."""
        if leftover.upload:
            self.store.objects.abort([leftover.upload])
        else:
            self.store.objects.remove(leftover.location.removeprefix(f"{self.store.url}/"))
        return True

    def _judge(self, location: str, document: RunDocument | None) -> Leftover | None:
        """None for what is needed or too young."""
        if self._is_needed(location, document) or self._may_go_on_from(location, document):
            return None
        try:
            size, changed = self._footprint(location)
        except FileNotFoundError:
            return None  # somebody else removed it
        age = time.time() - changed
        if age < self.older_than:
            return None
        why, kept = self._reason(location, document)
        return Leftover(location, size, age, why, kept)

    def _judge_upload(self, upload: StoredObject, document: RunDocument | None) -> Leftover | None:
        age = time.time() - upload.modified
        if age < self.older_than or _runs_in(self._folder_of(upload), document):
            return None
        return Leftover(f"{self.store.url}/{upload.key}", upload.size, age, "unfinished upload", upload=upload)

    def _judge_probe(self, probe: StoredObject) -> Leftover | None:
        age = time.time() - probe.modified
        if age < self.older_than:
            return None
        return Leftover(f"{self.store.url}/{probe.key}", probe.size, age, "a probe of the store")

    def _folder_of(self, upload: StoredObject) -> str:
        return f"{self.store.url}/{upload.key.partition('/')[0]}"

    def _footprint(self, location: str) -> tuple[int, float]:
        """The bytes of a folder, and when anything in it changed last."""
        if self._is_work(location):
            return footprint(_path(location))
        if local := self.store.objects.local(location.removeprefix(f"{self.store.url}/")):
            return footprint(local)
        contents = self.store.contents(location)
        if not contents:
            raise FileNotFoundError(location)
        return sum(object_.size for object_ in contents), max(object_.modified for object_ in contents)

    def _reason(self, location: str, document: RunDocument | None) -> tuple[str, bool]:
        """Why a folder is a leftover, and whether it stays nevertheless."""
        if document is None:
            return f"{_run_of(location)} has no document; see repro rebuild", True
        if self._is_work(location):
            return "work folder of an attempt that has ended", False
        if not (self.sole or self._remembers(location)):
            return "another queue's, for all that is known here", True
        return self._reason_of_ours(location, document)

    def _reason_of_ours(self, location: str, document: RunDocument) -> tuple[str, bool]:
        if store_recovery.is_rerun(location):
            return "a rerun of repro verify, which is no result", False
        mark = self.store.mark(location)
        if mark is None:
            return "unfinished attempt", False
        if (_parsed(mark) or {}).get("fingerprint") != document["fingerprint"]:
            return f"{MANIFEST} is broken or of another computation", True
        return f"complete, but its run is {document['state']} without it", False

    def _remembers(self, location: str) -> bool:
        """Whether this queue knows that it has begun this very attempt."""
        return location in self._begun(_run_of(location))

    def _begun(self, name: str) -> list[str]:
        """The places of a run's attempts, the newest first; none where the document is gone."""
        return [self.store.location(name, token) for token in reversed(audits.tokens(self.db, name))]

    def _is_needed(self, location: str, document: RunDocument | None) -> bool:
        if _runs_in(location, document):
            return True
        return not self._is_work(location) and bool(self._named.get(location, set()) - {location})

    def _may_go_on_from(self, location: str, document: RunDocument | None) -> bool:
        """Whether the next attempt at a run would begin with a checkpoint that lies here."""
        if document is None or document["state"] in (State.DONE, State.VERIFIED) or self._is_work(location):
            return False
        attempts = self._begun(_run_of(location))
        newest = next(checkpoint_store.whole(self.store, attempts), "") if location in attempts else ""
        return newest.startswith(f"{location}/")

    def _is_work(self, location: str) -> bool:
        return location.startswith("file://") and _path(location).parent == self.home / WORK

    def _known(self, document: RunDocument) -> RunDocument:
        """What is kept of a document; what it names is noted, unless it is a rerun that has ended."""
        if "verifies" not in document or document["state"] not in FINAL:
            self._note(f"document {document['_id']}", document)
        kept: RunDocument = {"state": document["state"], "fingerprint": document["fingerprint"]}
        return kept | {"lease": document["lease"]} if "lease" in document else kept

    def _note(self, who: str, content: Any) -> None:
        """Every text in a document or manifest that is a place in the store names that place's folder."""
        for text in _texts(content):
            if text.startswith(f"{self.store.url}/"):
                folder = text.removeprefix(f"{self.store.url}/").partition("/")[0]
                self._named.setdefault(f"{self.store.url}/{folder}", set()).add(who)


def attempt_folders(root: Path) -> list[Path]:
    """The folders of a root that are named as attempts are, sorted; none if there is no root."""
    if not root.exists():
        return []
    return sorted(p for p in root.iterdir() if ATTEMPT.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def footprint(folder: Path) -> tuple[int, float]:
    """The bytes of a folder, and when anything in it changed last; links are not followed.

    Raises:
        FileNotFoundError: it is gone.
    """
    entries = [folder.lstat()]
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with contextlib.suppress(FileNotFoundError):
                entries.append((Path(parent) / name).lstat())
    return sum(s.st_size for s in entries if stat.S_ISREG(s.st_mode)), max(s.st_mtime for s in entries)


def _parsed(mark: Mark) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        manifest = json.loads(mark.data)
        return manifest if isinstance(manifest, dict) else None
    return None


def _runs_in(location: str, document: RunDocument | None) -> bool:
    """Whether a run is running in this attempt's folder."""
    running = document is not None and document["state"] == State.RUNNING
    return bool(running and document and location.endswith(f"-{document['lease']['token'][:8]}"))


def _path(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def _run_of(location: str) -> str:
    return location.rpartition("/")[2].rpartition("-")[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)

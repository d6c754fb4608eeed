"""Run documents from the store alone: every complete attempt's `repro-run.json` gives its done run back.

What a run computed comes from the manifest; what only the queue knew (priority, tags, who submitted it, its
history) is lost with the queue. Where two complete attempts of one name are the same computation, one is taken
by a rule that anybody can repeat; where they are not, nothing is guessed.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from repro.scheduler import runs
from repro.scheduler.queue import lookup
from repro.scheduler.runs import RunDocument
from repro.scheduler.server.connection import Queue
from repro.stages import config as configs
from repro.stages.errors import ReproError, StageError
from repro.stages.own_files import MANIFEST
from repro.stages.plain import unstrict
from repro.worker.store.outputs import bounded
from repro.worker.store.store import Mark, Store

BATCH = 500  # documents in one insert, names in one question

T = TypeVar("T")


@dataclass(frozen=True)
class Complete:
    """A complete attempt, as its manifest tells; the manifest itself is read again when it is needed."""

    location: str
    name: str
    fingerprint: str
    sources: Mapping[str, Mapping[str, str]]
    written_at: float


@dataclass
class Plan:
    """`restore`: sources first. `existing`: names that have a document. `notes`: choices that were made."""

    restore: list[Complete] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan(db: Queue, store: Store, checksums: bool = False) -> Plan:
    """What the store could give back, what it could not, and why. Writes nothing."""
    ready = Plan()
    attempts = _read_all(store, ready)
    by_name: dict[str, list[Complete]] = defaultdict(list)
    for attempt in attempts:
        by_name[attempt.name].append(attempt)
    named = {source["location"] for attempt in attempts for source in attempt.sources.values() if "location" in source}
    known = _fingerprints(db, sorted(by_name))
    chosen = [_settle(store, ready, by_name[name], known.get(name), named, checksums) for name in sorted(by_name)]
    ready.restore = _sources_first([attempt for attempt in chosen if attempt])
    return ready


def restore(db: Queue, store: Store, ready: Plan) -> list[str]:
    """Insert what was planned; a run that got a document in the meantime keeps that. Returns the restored names."""
    restored: list[str] = []
    for batch in _batches(ready.restore):
        taken = runs.restore(db, [_document(store, attempt) for attempt in batch])
        ready.existing += taken
        names = [attempt.name for attempt in batch if attempt.name not in taken]
        runs.release_children(db, names)
        restored += names
    return restored


def is_rerun(location: str) -> bool:
    """Whether an attempt's folder is that of a rerun, which is no result."""
    return location.rpartition("/")[2].rpartition("-")[0].endswith(runs.RERUN)


def _read_all(store: Store, ready: Plan) -> list[Complete]:
    attempts = []
    for mark in store.marks([place for place in store.attempts() if not is_rerun(place)]):
        if isinstance(mark, OSError):
            ready.problems.append(f"{mark.filename} can't be read, skipped: {mark.strerror}")
            continue
        try:
            attempts.append(_read(mark))
        except ReproError as error:
            ready.problems.append(str(error))
    return attempts


def _read(mark: Mark) -> Complete:
    manifest = _manifest(mark.location, mark.data)
    name, fingerprint, sources = manifest["name"], manifest["fingerprint"], manifest["sources"]
    return Complete(mark.location, name, fingerprint, sources, mark.written_at)


def _manifest(location: str, mark: bytes) -> dict[str, Any]:
    """What `repro-run.json` says, checked for all that a document needs.

    Raises:
        ReproError: it is broken.
    """
    where = f"{location}/{MANIFEST}"
    try:
        manifest: dict[str, Any] = json.loads(mark)
        config = configs.parse(json.dumps(manifest["config"]), where)
        configs.check(config, where)
        sources = {source: (of["fingerprint"], of["location"]) for source, of in manifest["sources"].items()}
        outputs = all({"path", "size", "sha256"} <= output.keys() for output in manifest["outputs"])
        mappings = all(isinstance(manifest[key], dict) for key in ("metrics", "params", "environment"))
        belongs = location.rpartition("/")[2].rpartition("-")[0] == manifest["name"]
        whole = set(sources) == set(configs.sources(config)) and isinstance(manifest["fingerprint"], str)
    except (ReproError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"{where} is broken, skipped: {type(error).__name__}: {error}") from error
    if not (outputs and mappings and belongs and whole):
        raise StageError(f"{where} is broken, skipped: it does not describe the run that its folder is named after")
    return manifest


def _settle(
    store: Store, ready: Plan, attempts: Sequence[Complete], known: str | None, named: set[str], checksums: bool
) -> Complete | None:
    """The attempt of one name that gives its run back; None if it has a document, or there is none to trust."""
    name = attempts[0].name
    fingerprints = {attempt.fingerprint for attempt in attempts} | ({known} if known else set())
    if len(fingerprints) > 1:
        where = ", ".join(attempt.location for attempt in attempts)
        has = ", one of them the run's document" if known else ""
        ready.problems.append(f"{name}: {len(fingerprints)} different computations have this name{has}: {where}")
        return None
    if known:
        ready.existing.append(name)
        return None
    sound = [attempt for attempt in attempts if _is_sound(store, ready, attempt, checksums)]
    if not sound:
        return None
    first = min(sound, key=lambda a: (a.location not in named, a.written_at, a.location))
    if len(sound) > 1:
        why = "another run names it as its source" if first.location in named else "it is the oldest"
        ready.notes.append(f"{name}: {len(sound)} complete attempts of one computation; {first.location}: {why}")
    return first


def _is_sound(store: Store, ready: Plan, attempt: Complete, checksums: bool) -> bool:
    outputs = _manifest(attempt.location, store.read_own(attempt.location, MANIFEST))["outputs"]
    try:
        store.check_outputs(outputs, attempt.location, checksums)
    except (StageError, OSError) as error:
        ready.problems.append(f"{attempt.location}: skipped: {error}")
        return False
    return True


def _sources_first(attempts: Sequence[Complete]) -> list[Complete]:
    by_name = {attempt.name: attempt for attempt in attempts}
    graph = {name: [s for s in attempt.sources if s in by_name] for name, attempt in by_name.items()}
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise StageError(f"runs name each other as sources, nothing was restored: {error.args[1]}") from error


def _document(store: Store, attempt: Complete) -> RunDocument:
    """The run's document as it was, as far as it describes the result."""
    mark = store.read_own(attempt.location, MANIFEST)
    manifest = _manifest(attempt.location, mark)
    config, params = manifest["config"], manifest["params"]
    unread = configs.unread(config, params)
    then = datetime.fromtimestamp(attempt.written_at, UTC)
    return runs.document(
        attempt.name,
        config,
        attempt.fingerprint,
        configs.sources(config),
        [],
        submitted_at=then,
        finished_at=then,
        location=attempt.location,
        metrics=unstrict(manifest["metrics"]),
        params=params,
        environment=manifest["environment"],
        **bounded(manifest["outputs"], mark),
        **({"unread": unread} if unread else {}),
        **{key: manifest[key] for key in ("usage", "code") if key in manifest},
    )


def _fingerprints(db: Queue, names: Sequence[str]) -> dict[str, str]:
    known: dict[str, RunDocument] = {}
    for batch in _batches(names):
        known |= lookup.identities(db, batch)
    return {name: run["fingerprint"] for name, run in known.items()}


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))

"""Reruns of done runs on today's code: which, from which inputs, and the verdict on what they gave.

A rerun is a run of its own, called `NAME.verify`, which no config can be called. It reads the inputs that its
original read, ends as `verified` and never as `done`, and lies in a folder of its own, which `repro gc` removes.
One run has one rerun at a time; who asks for another while it is under way shares it.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from repro.scheduler import runs
from repro.scheduler.queue import audits, lookup, workers
from repro.scheduler.queue.submission import Ship
from repro.scheduler.runs import RunDocument, State, Verdict
from repro.scheduler.search.search_config import STAGE as SEARCH
from repro.scheduler.server.connection import Queue
from repro.stages.errors import ReproError, StageError
from repro.stages.source import provenance
from repro.worker.audit.result_comparison import Level, Tolerance, compare, is_worse, verdict
from repro.worker.store.outputs import outputs_of
from repro.worker.store.store import Store

POLL = 0.5  # seconds


def choose(db: Queue, names: Sequence[str], stage: str | None = None, sample: int | None = None) -> list[RunDocument]:
    """The done runs of these names, or all, or a stage's; of them so many by chance.

    Raises:
        ReproError: one of the names is no done run.
    """
    asked = lookup.runs(db, names) if names else []
    if wrong := [f"{run['_id']} is {run['state']}" for run in asked if run["state"] != State.DONE]:
        raise ReproError(f"only done runs can be verified: {', '.join(wrong)}")
    if searches := [run["_id"] for run in asked if run["stage"] == SEARCH]:
        raise ReproError(
            f"{searches[0]} is a search: repro search {searches[0]} --check proposes its trials again; name its runs "
            "to compute them again"
        )
    return audits.results(db, names, stage, sample)


def whole(store: Store, originals: Sequence[RunDocument]) -> tuple[list[RunDocument], list[str]]:
    """Those of which every stored byte is as it was recorded, and a line about each other: read from the store."""
    sound, damaged = [], []
    for original in originals:
        try:
            store.check_outputs(outputs_of(store, original), original["location"], checksums=True)
            sound.append(original)
        except (StageError, OSError) as error:
            damaged.append(f"{original['_id']}: {error}")
    return sound, damaged


def start(
    db: Queue, store: Store, originals: Sequence[RunDocument], by: str, ship: Ship = provenance.submitted
) -> list[str]:
    """Put a rerun of each into the queue, with the code of who asks; returns their names.

    Raises:
        StageError: the folder of a run is not complete any more.
    """
    read = _read_from(store, [original for original in originals if original["sources"]])
    now = audits.locations(db, {source for original in originals for source in original["sources"]})
    started = []
    for original in originals:
        then = read.get(original["_id"], {})
        moved = {source: location for source, location in then.items() if now.get(source) != location}
        started.append(runs.rerun(db, original, moved, by, dict(ship(str(original["config"]["stage"])))))
    return started


def _read_from(store: Store, originals: Sequence[RunDocument]) -> dict[str, dict[str, str]]:
    """Name -> source -> the location that the run read it from, as its manifest tells."""
    names = {original["location"]: original["_id"] for original in originals}
    locations: dict[str, dict[str, str]] = {}
    for mark in store.marks(list(names)):
        if isinstance(mark, OSError):
            raise StageError(f"{mark.filename} can't be read: {mark.strerror}") from mark
        sources = json.loads(mark.data)["sources"]
        locations[names[mark.location]] = {source: of["location"] for source, of in sources.items()}
    if gone := [location for location, name in names.items() if name not in locations]:
        raise StageError(f"a result is gone from the store: {', '.join(sorted(gone))}")
    return locations


def follow(
    db: Queue, reruns: Sequence[str], warn_no_worker: Callable[[], None]
) -> Iterator[tuple[RunDocument, RunDocument]]:
    """Original and rerun, as each rerun ends; calls `warn_no_worker` once if no worker is alive to compute them."""
    waiting, warned = list(reruns), False
    while waiting:
        unfinished = lookup.unfinished(db, waiting)
        for name in [name for name in waiting if name not in unfinished]:
            waiting.remove(name)
            rerun = lookup.run(db, name)
            yield lookup.run(db, rerun["verifies"]), rerun
        if waiting and not warned and not workers.is_any_alive(db):
            warned = True
            warn_no_worker()
        if waiting:
            time.sleep(POLL)


def judge(db: Queue, store: Store, original: RunDocument, rerun: RunDocument, within: Tolerance) -> Verdict:
    """Compare a rerun that has ended with its original, and record the verdict on the original.

    Raises:
        StageError: a file is not in the store as it was recorded.
    """
    findings = []
    if rerun["state"] == State.VERIFIED:
        with TemporaryDirectory() as folder:
            findings = compare(store, original, rerun, Path(folder), within)
    judged = verdict(original, rerun, findings)
    runs.record_verdict(db, original["_id"], judged)
    return judged


def is_verdict_worse(judged: Verdict, asked: str | None) -> bool:
    """Whether a result is worse than asked for: by default identical, or close on other hardware."""
    return is_worse(Level.called(judged["level"]), judged["same_hardware"], asked)

"""A run's checkpoints in the store: the attempt that makes them pushes them, the next one, anywhere, goes on from them.

    <location of the attempt>/repro-checkpoints/<step>/
        state.safetensors, state.json    as the stage wrote them
        whole.json                       last, with their sizes and SHA-256

Without `whole.json` one counts for nothing. Once the run is done all of them are dead: nothing but `repro gc` looks at
them again. What a stage does with one that it is handed is decided in `stages/running/checkpoints.py`; here a
checkpoint is only whole or not.
"""

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from repro.scheduler.server.connection import Document
from repro.stages import files
from repro.stages.errors import StageError, Unreachable
from repro.stages.own_files import CHECKPOINTS
from repro.stages.running.checkpoint_files import FACTS, KEEP, STATE, name_of, steps_in
from repro.worker.store.objects import StoredObject
from repro.worker.store.store import Store

FOLDER, WHOLE = CHECKPOINTS, "whole.json"
EARLIER = "checkpoints"  # the folder's name until outputs could lie in one that is called so


class Uploader(threading.Thread):
    """Pushes the checkpoints of an attempt to its folder in the store; while one is pushed, only the newest waits."""

    def __init__(self, store: Store, location: str, folder: Path, pushed: Callable[[Document], None]) -> None:
        """`pushed` is called for each checkpoint that is whole in the store."""
        super().__init__(name="checkpoints", daemon=True)
        self.store, self.location, self.folder, self.pushed = store, location, folder, pushed
        self.error: str | None = None  # of the last one that could not be pushed
        self._known = set(steps_in(folder))  # what it was handed itself lies in the store already
        self._news = threading.Event()
        self._ending = threading.Event()
        self._keeps_all = False  # a worker need not be allowed to delete; gc is

    def announce_new(self) -> None:
        """The stage has left another checkpoint."""
        if not self.is_alive() and not self._ending.is_set():
            self.start()
        self._news.set()

    def run(self) -> None:
        while not self._ending.is_set():
            self._news.wait()
            self._news.clear()
            if not self._ending.is_set():
                self.push_newest()

    def end(self) -> None:
        """Push no more; what is being pushed is ended first."""
        self._ending.set()
        self._news.set()
        if self.is_alive():
            self.join()

    def push_newest(self) -> None:
        """Push the newest checkpoint, if that has not been done. That this fails is no fault of the run."""
        new = [step for step in steps_in(self.folder) if step not in self._known][:1]
        for step in new:
            try:
                place = push(self.store, self.location, self.folder, step)
            except (OSError, Unreachable) as error:
                self.error = f"the checkpoint of step {step} is not in the store: {error}"
                return
            self._known.add(step)
            self.pushed({"step": step, "location": place})
            self._drop_old()

    def _drop_old(self) -> None:
        if not self._keeps_all:
            try:
                for place in dead(self.store.contents(f"{self.location}/{FOLDER}"), self.store.url, done=False):
                    remove(self.store, place)
            except (OSError, Unreachable):
                self._keeps_all = True


def push(store: Store, location: str, folder: Path, step: int) -> str:
    """Push one checkpoint, its mark last; returns its place.

    Raises:
        FileNotFoundError: the stage has dropped it meanwhile, for a newer one.
    """
    place = f"{location}/{FOLDER}/{name_of(step)}"
    pinned = folder / f".{name_of(step)}"  # the stage drops old ones whenever it likes
    pinned.mkdir()
    try:
        for name in (STATE, FACTS):
            files.link_or_copy(folder / name_of(step) / name, pinned / name)
        pushed = store.push(place, pinned, (STATE, FACTS))
    finally:
        shutil.rmtree(pinned, ignore_errors=True)
    store.create(place, WHOLE, json.dumps({"step": step, "files": pushed}).encode())
    return place


def fetch(store: Store, attempts: Sequence[str], folder: Path, log: Callable[[str], None]) -> None:
    """Lay the newest whole checkpoint of these attempts, the newest attempt first, into a folder.

    One whose bytes are gone or are not as recorded means the one before it; none means to begin from the beginning.

    Raises:
        Unreachable: the store can't be read.
    """
    tried = set[str]()
    # Listed again each time: an attempt that has lost its run may still replace old ones by new ones.
    while place := next((place for place in whole(store, attempts) if place not in tried), None):
        tried.add(place)
        target = folder / place.rpartition("/")[2]
        try:
            mark = json.loads(store.read(place, WHOLE))
            store.pull(mark["files"], place, target)
            return
        except (StageError, FileNotFoundError, ValueError, KeyError, TypeError) as error:
            log(f"no use of a checkpoint: {place}: {error}")
            shutil.rmtree(target, ignore_errors=True)


def dead(contents: Sequence[StoredObject], url: str, done: bool) -> list[str]:
    """The places of those checkpoints of an attempt that nobody will go on from: all if its run is done, else those
    that newer whole ones have made useless."""
    inside = [stored for stored in contents if stored.key.split("/")[1] == FOLDER]
    kept = _places([stored for stored in inside if stored.key.endswith(f"/{WHOLE}")], url)[-KEEP:]
    return [place for place in _places(inside, url) if done or (kept and place < kept[0])]


def all_of(store: Store, location: str) -> list[str]:
    """The places of all checkpoints of an attempt, whole or not, the oldest first."""
    return _places(store.contents(f"{location}/{FOLDER}"), store.url)


def remove(store: Store, place: str) -> None:
    """Remove one, its mark first, so that what a crash leaves never looks whole."""
    for name in (WHOLE, STATE, FACTS):
        store.objects.remove(f"{place.removeprefix(f'{store.url}/')}/{name}")


def clear(store: Store, location: str) -> None:
    """Remove all of an attempt that is done, as far as this worker may; what it leaves is `repro gc`'s."""
    with contextlib.suppress(OSError, Unreachable):
        for place in all_of(store, location):
            remove(store, place)


def whole(store: Store, attempts: Iterable[str]) -> Iterator[str]:
    """The places of whole checkpoints: of the first attempt from its newest on, then of the next."""
    for location in attempts:
        contents = store.contents(f"{location}/{FOLDER}") or store.contents(f"{location}/{EARLIER}")
        marks = [stored for stored in contents if stored.key.endswith(f"/{WHOLE}")]
        yield from reversed(_places(marks, store.url))


def _places(contents: Sequence[StoredObject], url: str) -> list[str]:
    """The folders of checkpoints that objects lie in; as they are named, their order is that of their steps."""
    return sorted({f"{url}/{stored.key.rpartition('/')[0]}" for stored in contents})

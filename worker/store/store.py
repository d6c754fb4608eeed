"""The store of results: every attempt has a folder of its own, in which files are created once.

What each operation guarantees on each kind of store stands in `objects`. For all of them: nothing is ever
replaced, and what is read is what was recorded, checked by its SHA-256. Not guaranteed: that the folder of an
attempt that died is whole. Only `repro-run.json`, written last, says that.
"""

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.scheduler.runs import RERUN
from repro.stages import files
from repro.stages.errors import StageError, Unreachable
from repro.stages.own_files import EARLIER, MANIFEST, name_among
from repro.worker.store import interruption
from repro.worker.store.cache import Cache
from repro.worker.store.concurrently import each
from repro.worker.store.objects import MANY, Objects, StoredObject, open_objects
from repro.worker.store.verified_files import VerifiedFiles

# The name, and the token's first 8; between them what marks a rerun, which is no result.
ATTEMPT = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}(?:{re.escape(RERUN)})?-[0-9a-f]{{8}}")
PROBES = ".probe"  # the folder of the objects that `probe` creates
OVERWRITES = (
    "lets a second create replace the first. Results stay safe as long as only workers write there: each attempt "
    "has a folder of its own, and every input is checked by its SHA-256. Nothing keeps other programs from "
    "replacing an object; that is found when it is read next"
)

Output = dict[str, Any]  # path, size, sha256 and, for what was passed on, location


@dataclass(frozen=True)
class Mark:
    """A complete attempt's `repro-run.json`: its bytes, and when it was written, in seconds since 1970."""

    location: str
    data: bytes
    written_at: float


class Store:
    """Attempts' folders below one root, and the cache of what this machine has read of them."""

    def __init__(self, objects: Objects, cache: Cache, verified_files: VerifiedFiles) -> None:
        self.objects, self.cache, self.verified_files, self.url = objects, cache, verified_files, objects.url

    @classmethod
    def open(cls, url: str, home: Path, cache_bytes: int | None = None) -> "Store":
        """The store that a URL names; nothing is asked of it yet.

        Raises:
            ReproError: the URL can't be used.
        """
        return cls(open_objects(url), Cache(home / "cache", cache_bytes), VerifiedFiles(home / "seen"))

    def location(self, name: str, token: str) -> str:
        """The URL of the folder of one attempt."""
        return f"{self.url}/{name}-{token[:8]}"

    def open_attempt(self, location: str) -> None:
        """Make an attempt's folder; one that is there already belongs to somebody else."""
        self.objects.open_folder(self._key(location))

    def create(self, location: str, name: str, data: bytes) -> None:
        """One small file, created exclusively."""
        self.objects.create(self._key(location, name), data)

    def push(self, location: str, folder: Path, names: Iterable[str]) -> list[Output]:
        """Create these files of a folder under the same relative names; returns what was written, by path."""

        def push_one(name: str, size: int) -> Output:
            sha256 = self.objects.upload(self._key(location, name), folder / name)
            self._note_own(f"{location}/{name}", sha256)
            executable = {"executable": True} if files.is_executable(folder / name) else {}
            return {"path": name, "size": size, "sha256": sha256} | executable

        return each([(name, (folder / name).stat().st_size) for name in sorted(names)], push_one)

    def pull(self, outputs: Sequence[Output], location: str, folder: Path) -> None:
        """Lay a run's outputs into a folder as read-only links.

        Raises:
            StageError: an object is missing or is not as it was recorded; it names the object and both sums.
        """
        folder.mkdir(parents=True)
        for parent in sorted({(folder / output["path"]).parent for output in outputs}):
            parent.mkdir(parents=True, exist_ok=True)

        if not self.is_remote:
            each(_sized(outputs), lambda output, _: self._lay_local(output, location, folder))
            return
        programs = [folder / output["path"] for output in outputs if output.get("executable")]
        missing = [o for o in outputs if not self.cache.link(o["sha256"], folder / o["path"])]
        self._make_room(missing)

        def lay(output: Output, size: int) -> None:
            fetch = self._fetch(self._place(output, location), output)
            self.cache.lay(output["sha256"], folder / output["path"], fetch)

        each(_sized(missing), lay)
        for program in programs:  # a cached object has many names, and one mode
            copy = program.with_name(f".{secrets.token_hex(8)}")
            shutil.copyfile(program, copy)
            copy.chmod(0o555)
            copy.rename(program)

    def check_inputs(self, outputs: Sequence[Output], location: str, source: str) -> None:
        """See that a stage has left its inputs as they were, where they are the store's own files: their mode does not
        hold back root. What was not written to is not read.

        Raises:
            StageError: one was changed; it names it.
        """
        for output in outputs if not self.is_remote else ():
            path = self.objects.local(self._key(self._place(output, location)))
            if path is not None and not self.verified_files.is_as_recorded(path, output["sha256"]):
                raise StageError(
                    f"the stage has changed its input {source}/{output['path']}, which is the result of another run "
                    f"({path}); restore that from a back-up, and copy before you write"
                )

    def prefetch(self, outputs: Sequence[Output], location: str) -> None:
        """Have a run's outputs on this machine before somebody needs them."""

        def keep(output: Output, size: int) -> None:
            self.cache.keep(output["sha256"], self._fetch(self._place(output, location), output))

        if self.is_remote:
            missing = [output for output in outputs if not self.cache.has(output["sha256"])]
            self._make_room(missing)
            each(_sized(missing), keep)

    @property
    def is_remote(self) -> bool:
        return self.objects.local("") is None

    def attempts(self) -> list[str]:
        """The locations of all attempts' folders, complete or not; whatever else lies there is not ours."""
        return [f"{self.url}/{name}" for name in self.objects.folders() if ATTEMPT.fullmatch(name)]

    def contents(self, location: str) -> list[StoredObject]:
        """Every object of an attempt's folder; keys are relative to the root."""
        return self.objects.listing(self._key(location))

    def read(self, location: str, name: str) -> bytes:
        return self.objects.read(self._key(location, name))

    def read_range(self, output: Output, location: str, start: int, length: int) -> bytes:
        """A part of an output; fewer bytes at its end. What is read is not checked: a part has no sum.

        Raises:
            StageError: it is gone.
        """
        place = self._place(output, location)
        try:
            return self.objects.read_range(self._key(place), start, length)
        except FileNotFoundError as error:
            raise StageError(f"a file is gone from the store: {place}") from error

    def read_own(self, location: str, name: str) -> bytes:
        """One of a run's own files, in a folder of today or of earlier.

        Raises:
            FileNotFoundError: it is not there.
        """
        try:
            return self.read(location, name)
        except FileNotFoundError:
            earlier = name_among(name, self._names(location, self.contents(location)))
            if earlier == name:
                raise
            return self.read(location, earlier)

    def own_object(self, location: str, name: str) -> StoredObject:
        """One of a run's own files, in a folder of today or of earlier, as it is listed.

        Raises:
            FileNotFoundError: it is not there.
        """
        contents = self.contents(location)
        key = self._key(location, name_among(name, self._names(location, contents)))
        found = next((stored for stored in contents if stored.key == key), None)
        if found is None:
            raise FileNotFoundError(f"{location}/{name}")
        return found

    def _names(self, location: str, contents: Iterable[StoredObject]) -> set[str]:
        """The objects of an attempt's folder by their names in it."""
        return {stored.key.removeprefix(f"{self._key(location)}/") for stored in contents}

    def mark(self, location: str) -> Mark | None:
        """An attempt's `repro-run.json`, None if it is not complete."""
        contents = self.contents(location)
        name = name_among(MANIFEST, self._names(location, contents))
        for stored in contents:
            if stored.key == self._key(location, name):
                return Mark(location, self.read(location, name), stored.modified)
        return None

    def marks(self, locations: Sequence[str]) -> Iterator[Mark | OSError]:
        """The marks of those that are complete, read concurrently; an error in place of one that can't be read."""

        def read(location: str) -> Mark | OSError | None:
            try:
                return self.mark(location)
            except OSError as error:
                return OSError(error.errno, error.strerror, f"{location}/{MANIFEST}")

        with ThreadPoolExecutor(MANY) as threads:
            yield from (mark for mark in threads.map(read, locations) if mark is not None)

    def check_outputs(self, outputs: Sequence[Output], location: str, checksums: bool) -> None:
        """See that every output is there as it was recorded.

        Raises:
            StageError: one is missing, or has another size or, if asked for, another SHA-256.
        """
        places = [self._place(output, location) for output in outputs]
        folders = {self._key(place).partition("/")[0] for place in places}
        sizes = {stored.key: stored.size for folder in folders for stored in self.objects.listing(folder)}
        for place, output in zip(places, outputs, strict=True):
            if (size := sizes.get(self._key(place))) is None:
                raise StageError(f"a file is gone from the store: {place}")
            _compare(place, output, size, self._digest(place, output) if checksums else output["sha256"])

    def remove(self, location: str) -> None:
        """Remove an attempt's folder; its mark first, so that what a crash leaves never looks complete."""
        for mark in (MANIFEST, EARLIER[MANIFEST]):
            self.objects.remove(self._key(location, mark))
        self.objects.remove_folder(self._key(location))

    def probe(self) -> bool:
        """Whether a name that is taken is refused; tried for real, with objects of its own.

        Raises:
            Unreachable: the store can't be written, or gives back other bytes than were written.
        """
        try:
            return self._probe()
        except OSError as error:  # of a folder
            raise Unreachable(f"{self.url} can't be written: {error.strerror or error}; see REPRO_STORE") from None

    def _probe(self) -> bool:
        key, first, second = f"{PROBES}/{secrets.token_hex(8)}", secrets.token_bytes(32), secrets.token_bytes(32)
        self.objects.create(key, first)
        try:
            self.objects.create(key, second)
        except FileExistsError:
            refused = True
        else:
            refused = False
        if self.objects.read(key) != (first if refused else second):
            raise Unreachable(f"{self.url} gave back other bytes than were written; use another store")
        with contextlib.suppress(Unreachable):  # a worker need not be allowed to delete; gc is
            self.objects.remove(key)
        return refused

    def _make_room(self, missing: Sequence[Output]) -> None:
        if missing:
            self.cache.evict(sum(output["size"] for output in missing))

    def _fetch(self, place: str, output: Output) -> Callable[[Path], None]:
        """Brings an object to a path, whole and as it was recorded."""

        def fetch(path: Path) -> None:
            try:
                sha256 = self.objects.download(self._key(place), path, output["size"])
            except FileNotFoundError as error:
                raise StageError(f"a file is gone from the store: {place}") from error
            _compare(place, output, path.stat().st_size, sha256)

        return fetch

    def _lay_local(self, output: Output, location: str, folder: Path) -> None:
        """A file of a local store is read when it is first used on this machine, and again if it has changed."""
        path = self.objects.local(self._key(self._place(output, location)))
        assert path is not None
        if not self.verified_files.is_as_recorded(path, output["sha256"]):
            if not path.exists():
                raise StageError(f"a file is gone from the store: {path}")
            _compare(str(path), output, path.stat().st_size, files.sha256(path, interruption.checker()))
        (folder / output["path"]).symlink_to(path)

    def _note_own(self, place: str, sha256: str) -> None:
        """What this machine has hashed as it wrote it need not be read again by the next run."""
        if local := self.objects.local(self._key(place)):
            self.verified_files.note(local, sha256)

    def _digest(self, place: str, output: Output) -> str:
        if local := self.objects.local(self._key(place)):
            return files.sha256(local)
        with tempfile.TemporaryDirectory() as folder:  # not through the cache: the store is what is in question
            return self.objects.download(self._key(place), Path(folder) / "object", output["size"])

    def _place(self, output: Output, location: str) -> str:
        """The URL of an output: what was passed on lies where its ancestor put it."""
        return str(output.get("location") or f"{location}/{output['path']}")

    def _key(self, location: str, name: str = "") -> str:
        if not location.startswith(f"{self.url}/"):
            raise StageError(f"{location} does not lie in the store {self.url}")
        return location.removeprefix(f"{self.url}/") + (f"/{name}" if name else "")


def _compare(place: str, output: Output, size: int, sha256: str) -> None:
    if (size, sha256) != (output["size"], output["sha256"]):
        raise StageError(
            f"a file has changed in the store: {place} has {size} bytes and SHA-256 {sha256}, "
            f"recorded were {output['size']} and {output['sha256']}"
        )


def _sized(outputs: Sequence[Output]) -> list[tuple[Output, int]]:
    return [(output, output["size"]) for output in outputs]

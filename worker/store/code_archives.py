"""The code that submits have put into the store, and where it lies on this machine.

    <store>/code/<sha256>.tar.gz    `packing` makes it; the sum is that of the archive before it was compressed
    home/code/<sha256>/             the same, unpacked and read-only; at most KEPT_BYTES, besides what runs use now

An archive is created once and never removed: it is the code that results were computed by. It is unpacked only when
its bytes are those that its name says.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import secrets
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from repro.stages import files
from repro.stages.errors import StageError
from repro.stages.source.packing import Packed
from repro.worker.store.store import Store

FOLDER = "code"
KEPT_BYTES = 2 * 10**9
FORGOTTEN = 3600.0  # seconds after which what was not unpacked to its end is cleared away
LONGEST = 500 * 10**6  # bytes of an archive, unpacked: what a submit packs has at most a tenth


def keep(store: Store, packed: Packed) -> str:
    """Have an archive in the store; returns its URL. What is there already is not sent again."""
    key = f"{FOLDER}/{packed.sha256}.tar.gz"
    try:
        store.objects.read_range(key, 0, 1)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # compressed by another version of the same library
            store.objects.create(key, packed.compressed())
    return f"{store.url}/{key}"


def read(store: Store, code: Mapping[str, Any]) -> tarfile.TarFile:
    """The archive that a run's document or manifest names in `code`.

    Raises:
        StageError: it is not in the store, or not as it was put there.
    """
    location, prefix = str(code["location"]), f"{store.url}/"
    if not location.startswith(prefix):
        raise StageError(f"the code of this run lies in {location}, and this queue's results in {store.url}")
    try:
        packed = store.objects.read_range(location.removeprefix(prefix), 0, LONGEST)
    except FileNotFoundError as error:
        raise StageError(f"the code of this run is gone from the store: {location}") from error
    try:
        data = zlib.decompressobj(wbits=31).decompress(packed, LONGEST)
    except zlib.error:
        data = b""
    if (found := hashlib.sha256(data).hexdigest()) != code["archive"]:
        raise StageError(f"{location} has changed in the store: its SHA-256 is {found}, not {code['archive']}")
    return tarfile.open(fileobj=io.BytesIO(data))


def unpack(archive: tarfile.TarFile, folder: Path, writable: bool = False) -> None:
    """Lay the files into a new folder, read-only if not asked otherwise.

    Raises:
        StageError: a name leads out of the folder, or is no file and no link within it.
    """
    folder.mkdir(parents=True)
    links = []
    for entry in archive:
        _check(entry)
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.issym():
            links.append((path, entry.linkname))
            continue
        with path.open("xb") as file:
            shutil.copyfileobj(archive.extractfile(entry) or io.BytesIO(), file)
        path.chmod((0o555 if entry.mode & 0o100 else 0o444) | (0o200 if writable else 0))
    for path, target in links:  # last: nothing is written through one
        path.symlink_to(target)
    for parent, _, _ in os.walk(folder) if not writable else ():
        Path(parent).chmod(0o555)


def _check(entry: tarfile.TarInfo) -> None:
    place = PurePosixPath(entry.name)
    leads_out = place.is_absolute() or ".." in place.parts
    if entry.issym():
        target = PurePosixPath(os.path.normpath(place.parent / entry.linkname))
        leads_out |= target.is_absolute() or ".." in target.parts
    if leads_out or not (entry.isreg() or entry.issym()):
        raise StageError(f"the archive of a run's code has {entry.name!r}, which is no file or leads out of it")


class CodeFolders:
    """The code of runs on this machine: `folder` has all of it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store = folder, store

    def of(self, run: Mapping[str, Any]) -> tuple[str, ...]:
        """The folders from which a run's project is imported, fetched if they are not here yet; none where a run takes
        the code that lies where its worker is.

        Raises:
            StageError: the code is not in the store as it was put there.
            Unreachable: the store can't be read.
        """
        code = run.get("code") or {}
        if "location" not in code:
            return ()
        place = self._folder / code["archive"]
        if not place.is_dir():
            self._fetch(code, place)
        with contextlib.suppress(OSError):
            os.utime(place)  # when it was used last
        return tuple(str(place / folder) for folder in code["folders"])

    @contextmanager
    def held(self, run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
        """As `of`; until the end of the block it is not removed."""
        folders, handle = self._hold(run)
        try:
            yield folders
        finally:
            if handle is not None:
                os.close(handle)

    def _hold(self, run: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
        while folders := self.of(run):
            place = self._folder / run["code"]["archive"]
            with contextlib.suppress(FileNotFoundError):  # removed in between
                handle = _opened(place)
                fcntl.flock(handle, fcntl.LOCK_SH)
                if files.is_at(handle, place):
                    return folders, handle
                os.close(handle)
        return (), None

    def _fetch(self, code: Mapping[str, Any], place: Path) -> None:
        partial = self._folder / f".{code['archive'][:16]}-{secrets.token_hex(8)}"
        try:
            with read(self._store, code) as archive:
                unpack(archive, partial)
            with contextlib.suppress(OSError):  # another worker was quicker
                partial.rename(place)
        finally:
            _remove(partial)
        self._evict(but=place)

    def _evict(self, but: Path) -> None:
        """Remove what was used least recently until no more than KEPT_BYTES are left, and what a crash has left."""
        entries = []
        for place in self._folder.iterdir():
            with contextlib.suppress(OSError):
                used = place.stat().st_mtime
                if not place.name.startswith("."):
                    entries.append((used, sum(file.lstat().st_size for file in place.rglob("*")), place))
                elif time.time() - used > FORGOTTEN:
                    _remove(place)
        excess = sum(size for _, size, _ in entries) - KEPT_BYTES
        for _, size, place in sorted(entries):
            if excess > 0 and place != but and self._is_removed(place):
                excess -= size

    def _is_removed(self, place: Path) -> bool:
        """False if a run holds it."""
        with contextlib.suppress(OSError):
            handle = _opened(place)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                gone = place.with_name(f".{secrets.token_hex(8)}")
                place.rename(gone)
            finally:
                os.close(handle)
            _remove(gone)
            return True
        return False


def _opened(place: Path) -> int:
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _remove(folder: Path) -> None:
    """A folder whose parts are read-only."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)

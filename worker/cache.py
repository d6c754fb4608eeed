"""Inputs on this machine: fetched once, found by their content, never stale.

    home/cache/objects/<sha256>       whole and checked, read-only
    home/cache/partial/<sha256>       being fetched, and the lock for it
    home/cache/seen/<sha256>-<inode>  how a file stood when it was checked: of `objects`, or of a local store

An object is named after its content and appears by a rename when its SHA-256 has been checked, so nothing partial
is ever found, whatever dies. A run holds an object by a hard link in its own folder: what has more than one name is
in use and is not evicted. What changed since it was checked (a stage may have written to its input) is checked
again, and fetched again if it is not what its name says.

Not guaranteed: the bound, while the inputs of the runs at work need more than it allows.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_native_id

from stages import files

DEFAULT_BYTES, DEFAULT_SHARE = 50 * 10**9, 0.1  # the smaller one, of the disk
FORGOTTEN = 3600.0  # seconds after which a fetch that died is cleared away
UNSEEN = 90 * 86400.0  # seconds after which it is forgotten how an unused file stood

Fetch = Callable[[Path], None]


class Cache:
    """The objects below a folder, at most so many bytes of them (0: no more than runs need at the time)."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self.objects, self.seen, self.partial = folder / "objects", folder / "seen", folder / "partial"
        self._folder, self._most = folder, most

    @property
    def most(self) -> int:
        if self._most is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._most = min(DEFAULT_BYTES, int(DEFAULT_SHARE * shutil.disk_usage(self._folder).total))
        return self._most

    def has(self, sha256: str) -> bool:
        return (self.objects / sha256).exists()

    def lay(self, sha256: str, link: Path, fetch: Fetch) -> None:
        """Give an object the name `link`, too; `fetch` is called with a path to write to if it is not here.

        `fetch` must raise if what it wrote is not the object. Of several processes that need the same object one
        fetches it, the others wait.
        """
        while not self._linked(sha256, link):
            self.keep(sha256, fetch)

    def keep(self, sha256: str, fetch: Fetch) -> None:
        """Have an object here, unless it is evicted later; as `lay` without a link."""
        for folder in (self.objects, self.seen, self.partial):
            folder.mkdir(parents=True, exist_ok=True)
        path, partial = self.objects / sha256, self.partial / sha256
        with _locked(partial):
            if self.is_as_checked(path, sha256):
                partial.unlink()
                return
            path.unlink(missing_ok=True)
            partial.chmod(0o644)  # a fetch that died may have got as far as the line below
            os.truncate(partial, 0)
            fetch(partial)
            partial.chmod(0o444)
            self.note(partial, sha256)
            partial.rename(path)

    def is_as_checked(self, path: Path, sha256: str) -> bool:
        """Whether a file holds what it should: read it unless it stands as it stood when it was read last.

        Raises:
            OSError: it is there and can't be read.
        """
        try:
            standing = _standing(path)
        except FileNotFoundError:
            return False
        mark = self._mark(sha256, standing)
        with contextlib.suppress(FileNotFoundError, ValueError):
            if json.loads(mark.read_bytes()) == standing:
                os.utime(mark)
                return True
        if files.sha256(path) != sha256:
            return False
        self.note(path, sha256)
        return True

    def note(self, path: Path, sha256: str) -> None:
        """Remember that a file has been read and found to be what it should."""
        self.seen.mkdir(parents=True, exist_ok=True)
        standing = _standing(path)
        mark = self._mark(sha256, standing)
        beside = mark.with_name(f".{mark.name}-{os.getpid()}-{get_native_id()}")
        beside.write_text(json.dumps(standing))
        beside.rename(mark)

    def evict(self, room: int = 0) -> int:
        """Remove what was used least recently until there is room for so many bytes more; returns the bytes removed."""
        self._clear()
        entries = sorted(self._entries())
        excess, removed = sum(size for _, size, *_ in entries) + room - self.most, 0
        for _, size, path, mark in entries:
            if removed >= excess:
                break
            with contextlib.suppress(FileNotFoundError):  # another worker evicts too
                if path.stat().st_nlink == 1:
                    path.unlink()
                    mark.unlink(missing_ok=True)
                    removed += size
        return removed

    def _linked(self, sha256: str, link: Path) -> bool:
        """The link comes first: what has it can't be evicted between the check and its use."""
        try:
            os.link(self.objects / sha256, link)
        except FileNotFoundError:
            return False
        if self.is_as_checked(link, sha256):
            return True
        link.unlink()
        return False

    def _entries(self) -> Iterator[tuple[float, int, Path, Path]]:
        """When an object was used last, its size, its path, its mark."""
        for path in _below(self.objects):
            with contextlib.suppress(FileNotFoundError):
                mark = self._mark(path.name, _standing(path))
                used = mark if mark.exists() else path
                yield used.stat().st_mtime, path.stat().st_size, path, mark

    def _clear(self) -> None:
        """Remove what a fetch that died has left, and marks that nobody asks for any more."""
        for path in _below(self.partial):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                if _age(path) > FORGOTTEN:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
        for path in _below(self.seen):
            with contextlib.suppress(FileNotFoundError):
                if _age(path) > UNSEEN:
                    path.unlink()

    def _mark(self, sha256: str, standing: list[int]) -> Path:
        return self.seen / f"{sha256}-{standing[1]}"


def _below(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _standing(path: Path) -> list[int]:
    """What changes when a file is written to. A new name or another mode changes none of it."""
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file that its holder may rename or remove; it ends with its holder, however it ends."""
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has this name: somebody may have completed it while we waited."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False

"""Inputs on this machine: fetched once, found by their content, never stale.

    home/cache/ab/<sha256>    whole and checked, read-only; `ab` are the first two digits
    home/cache/ab/.<sha256>   being fetched, and the lock for it

An object is named after its content and appears by a rename when its SHA-256 has been checked, so nothing partial
is ever found, whatever dies. A run holds an object by a hard link in its own folder: what has more than one name is
in use and is not evicted. Each carries one and the same time of modification: what has another was written to (by a
stage, say) and is checked again, and fetched again if it is not what its name says. The time of access tells when it
was used last. The time of modification differs from boot to boot: what a loss of power has left empty or cut, though
its name was written, is read before it is trusted again.

Not guaranteed: the bound, while the inputs of the runs at work need more than it allows.
"""

import contextlib
import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore

from repro.stages import files

DEFAULT_BYTES, DEFAULT_SHARE = 50 * 10**9, 0.1  # the smaller one, of the disk
FORGOTTEN = 3600.0  # seconds after which a fetch that died is cleared away


def _of_this_boot() -> int:
    """Nanoseconds since 1970: the time of modification of what has been checked since the machine was started."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        boot = b""
    return 10**18 + zlib.crc32(boot)


CHECKED = _of_this_boot()

DISK = Semaphore(4)  # changes of folders at once: more only wait for each other, at the processor's cost

Fetch = Callable[[Path], None]


class Cache:
    """The objects below a folder, at most so many bytes of them (0: no more than runs need at the time)."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self._folder, self._most = folder, most

    @property
    def most(self) -> int:
        if self._most is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._most = min(DEFAULT_BYTES, int(DEFAULT_SHARE * shutil.disk_usage(self._folder).total))
        return self._most

    def has(self, sha256: str) -> bool:
        return self._path(sha256).exists()

    def link(self, sha256: str, link: Path) -> bool:
        """Give an object that is here the name `link`, too; False if it is not.

        The link comes first: what has it can't be evicted between the check and its use.
        """
        try:
            files.link_or_copy(self._path(sha256), link)
        except FileNotFoundError:
            return False
        if _is_good(link, sha256):
            return True
        link.unlink()
        return False

    def lay(self, sha256: str, link: Path, fetch: Fetch) -> None:
        """As `link`; an object that is not here is fetched by a call of `fetch` with a path to write to.

        `fetch` must raise if what it wrote is not the object. Of several processes that need the same object one
        fetches it, the others wait.
        """
        self.keep(sha256, fetch)
        while not self.link(sha256, link):  # evicted in between
            self.keep(sha256, fetch)

    def keep(self, sha256: str, fetch: Fetch) -> None:
        """Have an object here, unless it is evicted later; as `lay` without a link."""
        path = self._path(sha256)
        partial = path.with_name(f".{sha256}")
        with _locked(partial) as handle:
            if _is_good(path, sha256):
                partial.unlink()
                return
            if os.fstat(handle).st_size:  # left by a fetch that died; it may have got as far as the lines below
                partial.chmod(0o644)
                os.truncate(partial, 0)
            fetch(partial)
            with DISK:
                partial.chmod(0o444)
                _stamp(partial)
                partial.rename(path)

    def evict(self, room: int = 0) -> int:
        """Remove what was used least recently until there is room for so many bytes more; returns the bytes removed."""
        entries = sorted(self._entries())
        excess, removed = sum(size for _, size, _ in entries) + room - self.most, 0
        for _, size, path in entries:
            if removed >= excess:
                break
            with contextlib.suppress(FileNotFoundError):  # another worker evicts too
                if path.stat().st_nlink == 1:
                    path.unlink()
                    removed += size
        return removed

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When an object was used last, its size, its path; what a fetch that died has left is removed on the way."""
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.name.startswith("."):
                    _remove_if_forgotten(path)
                else:
                    yield status.st_atime, status.st_size, path


def _is_good(path: Path, sha256: str) -> bool:
    """Whether an object is here and is what its name says: read again if it was written to since."""
    try:
        if path.stat().st_mtime_ns != CHECKED and files.sha256(path) != sha256:
            return False
    except FileNotFoundError:
        return False
    _stamp(path)
    return True


def _remove_if_forgotten(partial: Path) -> None:
    if time.time() - partial.stat().st_mtime > FORGOTTEN:
        with contextlib.suppress(BlockingIOError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def _stamp(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), CHECKED))


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock on a file that its holder may rename or remove; it ends with its holder, however it ends."""
    while True:
        with DISK:
            handle = _opened(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if files.is_at(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


def _opened(path: Path) -> int:
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:  # the first object of its folder
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)

"""Files that are created once, whole and durable, or not at all (R4)."""

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repro.stages.errors import ConfigError

CHUNK = 1 << 20
LET_GO = 2.0  # seconds in which a lock is let go by processes that have been killed


def create(path: Path, data: bytes) -> None:
    """Create a file with these bytes; it is never visible half-written and never replaces another.

    Raises:
        FileExistsError: something is there already; it is left as it is.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
        publish(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def publish(written: Path, path: Path) -> None:
    """Give a finished file its durable, read-only name; exactly one of several racers succeeds.

    `os.link` is atomic and refuses an existing name, which `os.replace` and opening with "xb" do not
    both do. Across file systems the bytes are copied beside the name first.

    Raises:
        FileExistsError: something is there already; it is left as it is.
    """
    mode = 0o555 if is_executable(written) else 0o444
    written.chmod(mode)
    sync(written)
    try:
        os.link(written, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(written, path, mode)
    sync(path.parent)


def pass_on(existing: Path, path: Path) -> None:
    """Make `path` another name of a file, by a hard link where the file system allows one."""
    try:
        os.link(existing, path)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        path.symlink_to(existing)


@contextmanager
def held(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file, and remove it at the end; this process and those that it forks hold it, and no other can.

    Raises:
        ConfigError: somebody else holds it; its message is `otherwise`. Or it can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent}: can't be written: {error.strerror}") from error
    deadline = time.monotonic() + LET_GO
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(handle, path):  # its holder before may have removed it
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ConfigError(f"{otherwise}; wait for its end, or take another name or root") from None
            time.sleep(0.02)
        finally:
            os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has this name: somebody may have removed or replaced it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def below(folder: Path) -> list[str]:
    """Every file below a folder, as sorted relative POSIX paths."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _copy(written: Path, path: Path, mode: int) -> None:
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with written.open("rb") as source, beside.open("xb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        beside.chmod(mode)
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)

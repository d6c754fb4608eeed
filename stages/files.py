"""Files that are created once, whole and durable, or not at all (R4)."""

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repro.stages.errors import ConfigError

CHUNK = 1 << 20
# How file systems say that a file can't have this name, too: across two of them, at the most of names, at all.
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
AT_FDCWD, RENAME_NOREPLACE = -100, 1  # Linux, fcntl.h and stdio.h
_libc = ctypes.CDLL(None, use_errno=True)
OF_A_HOME = (".gitignore", "cache", "code", "mongo", "seen", "store", "work")
LET_GO = 2.0  # seconds in which a lock is let go by processes that have been killed


def create(path: Path, data: bytes) -> None:
    """Create a file with these bytes; it is never visible half-written and never replaces another.

    Raises:
        FileExistsError: something is there already; it is left as it is.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with _telling(path):
            with beside.open("xb") as file:
                file.write(data)
            publish(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def publish(written: Path, path: Path) -> None:
    """Give a finished file its durable, read-only name; exactly one of several racers succeeds.

    Across file systems the bytes are copied beside the name first, and where there are no hard links, too.

    Raises:
        FileExistsError: something is there already; it is left as it is.
    """
    mode = 0o555 if is_executable(written) else 0o444
    written.chmod(mode)
    sync(written)
    try:
        os.link(written, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(written, path, mode)
    sync(path.parent)


def make_home(folder: Path) -> None:
    """Have a folder that is all ours, and that no `git add` takes. One with other things in it is left as it is."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if not folder.is_dir() or any(entry.name not in OF_A_HOME for entry in folder.iterdir()):
            return
    hide_from_git(folder)


def hide_from_git(folder: Path) -> None:
    """Let no `git add` take what is in a folder, nor a submit take it for code."""
    with suppress(FileExistsError):
        create(folder / ".gitignore", b"*\n")


def pass_on(existing: Path, path: Path) -> None:
    """Make `path` another name of a file, by a hard link where the file system allows one."""
    try:
        os.link(existing, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        path.symlink_to(existing)


def link_or_copy(existing: Path, path: Path) -> None:
    """Have a file's bytes under a second name, which stays when the first one goes."""
    try:
        os.link(existing, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        with existing.open("rb") as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
        path.chmod(0o444)


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


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """An error of a write or a sync, which know no name, says where."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def sha256(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """The digest of a file's bytes; `check` is called between pieces, and may raise."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            check()
    return digest.hexdigest()


def below(folder: Path) -> list[str]:
    """Every file below a folder, as sorted relative POSIX paths."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _name(beside: Path, path: Path) -> None:
    """Give a file of the same folder a name that nobody has taken.

    `os.link` is atomic and refuses an existing name, which `os.replace` and opening with "xb" do not both do. Where
    there are no hard links renameat2(2) does the same.
    """
    try:
        os.link(beside, path)
        return
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
    names = os.fsencode(beside), os.fsencode(path)
    if _libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _copy(written: Path, path: Path, mode: int) -> None:
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with _telling(path), written.open("rb") as source, beside.open("xb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        beside.chmod(mode)
        _name(beside, path)
    finally:
        beside.unlink(missing_ok=True)

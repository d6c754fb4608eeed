"""Files that are created once, whole and durable, or not at all (R4)."""

import errno
import hashlib
import os
import secrets
from pathlib import Path

CHUNK = 1 << 20


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
    written.chmod(0o444)
    sync(written)
    try:
        os.link(written, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(written, path)
    sync(path.parent)


def pass_on(existing: Path, path: Path) -> None:
    """Make `path` another name of a file, by a hard link where the file system allows one."""
    try:
        os.link(existing, path)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        path.symlink_to(existing)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def executable(path: Path) -> dict[str, bool]:
    """What an output's entry says of a program; nothing of any other file."""
    return {"executable": True} if path.stat().st_mode & 0o100 else {}


def below(folder: Path) -> list[str]:
    """Every file below a folder, as sorted relative POSIX paths."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def copy(written: Path, path: Path) -> None:
    """Create a read-only file with the bytes of another, whole or not at all."""
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with written.open("rb") as source, beside.open("xb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        beside.chmod(0o444)
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)

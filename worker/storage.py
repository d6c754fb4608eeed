"""The store of results: every attempt has a folder of its own, in which files are created once.

What is guaranteed, on a local file system: a file appears whole and durable under its name or not at all; of
several racers for a name exactly one wins; nothing is ever replaced. Not guaranteed: that the folder of an
attempt that died is whole. Only `run.json`, written last, says that.
"""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages import files
from stages.errors import ReproError, StageError, Unreachable
from stages.run import MANIFEST

ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}-[0-9a-f]{8}")  # the name, and the token's first 8


class LocalStore:
    """Folders below one `file://` root."""

    def __init__(self, url: str) -> None:
        if not url.startswith("file://"):
            raise ReproError(f"REPRO_STORE={url}: this version keeps results on a file system; give a folder")
        self.url = url
        self.root = local_path(url)

    def check(self) -> None:
        """Make the root and try to write there.

        Raises:
            Unreachable: it can't be written.
        """
        probe = self.root / f".probe-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise Unreachable(f"the store {self.root} can't be written: {error.strerror}; see REPRO_STORE") from error

    def location(self, name: str, token: str) -> str:
        """The URL of the folder of one attempt."""
        return f"{self.url}/{name}-{token[:8]}"

    def open_attempt(self, location: str) -> None:
        """Make an attempt's folder; one that is there already belongs to somebody else."""
        local_path(location).mkdir(parents=True)

    def create(self, location: str, name: str, data: bytes) -> None:
        """One small file, created exclusively."""
        files.create(local_path(location) / name, data)

    def push(self, location: str, folder: Path, names: Iterable[str]) -> None:
        """These files of a folder, each created exclusively, under the same relative names."""
        target = local_path(location)
        for name in names:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            files.publish(folder / name, path)

    def pull(self, outputs: Iterable[dict[str, Any]], location: str, folder: Path) -> None:
        """Lay a run's outputs into a folder as read-only links.

        Raises:
            StageError: an object is missing or is not of the size that was recorded.
        """
        folder.mkdir(parents=True)
        for output in outputs:
            stored = local_path(output.get("location") or f"{location}/{output['path']}")
            _check_size(stored, output["size"])
            path = folder / output["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(stored)

    def manifest(self, location: str) -> dict[str, Any]:
        """What `run.json` of a complete folder says."""
        found: dict[str, Any] = json.loads((local_path(location) / MANIFEST).read_bytes())
        return found

    def attempts(self) -> list[str]:
        """The locations of all attempts' folders, complete or not; whatever else lies there is not ours.

        Raises:
            Unreachable: the root can't be read.
        """
        try:
            return [f"{self.url}/{path.name}" for path in attempt_folders(self.root)]
        except OSError as error:
            raise Unreachable(f"the store {self.root} can't be read: {error.strerror}; see REPRO_STORE") from error

    def complete(self, location: str) -> bool:
        return (local_path(location) / MANIFEST).is_file()

    def read(self, location: str, name: str) -> bytes:
        return (local_path(location) / name).read_bytes()

    def modified(self, location: str, name: str) -> float:
        """When a file was written, in seconds since 1970."""
        return (local_path(location) / name).stat().st_mtime

    def check_outputs(self, outputs: Iterable[dict[str, Any]], location: str, checksums: bool) -> None:
        """See that every output is there as it was recorded.

        Raises:
            StageError: one is missing, or has another size or, if asked for, another SHA-256.
        """
        for output in outputs:
            stored = local_path(output.get("location") or f"{location}/{output['path']}")
            _check_size(stored, output["size"])
            if checksums and files.sha256(stored) != output["sha256"]:
                raise StageError(f"a file has changed in the store: {stored} has not the SHA-256 that was recorded")

    def remove(self, location: str) -> None:
        """Remove an attempt's folder; its mark first, so that what a crash leaves never looks complete."""
        folder = local_path(location)
        (folder / MANIFEST).unlink(missing_ok=True)
        files.sync(folder)
        shutil.rmtree(folder)


def attempt_folders(root: Path) -> list[Path]:
    """The folders of a root that are named as attempts are, sorted; none if there is no root."""
    if not root.exists():
        return []
    return sorted(p for p in root.iterdir() if ATTEMPT.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def footprint(folder: Path) -> tuple[int, float]:
    """The bytes of a folder, and when anything in it changed last; links are not followed.

    Raises:
        FileNotFoundError: it is gone.
    """
    found = [folder.lstat()]
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with contextlib.suppress(FileNotFoundError):
                found.append((Path(parent) / name).lstat())
    return sum(s.st_size for s in found if stat.S_ISREG(s.st_mode)), max(s.st_mtime for s in found)


def local_path(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def _check_size(stored: Path, size: int) -> None:
    try:
        found = stored.stat().st_size
    except FileNotFoundError as error:
        raise StageError(f"a file is gone from the store: {stored}") from error
    if found != size:
        raise StageError(f"a file has changed in the store: {stored} has {found} bytes, {size} were recorded")

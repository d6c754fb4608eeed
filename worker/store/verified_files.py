"""Which files of a local store this machine has read and found as they were recorded.

    home/seen/ab/<sha256>-<inode>   how the file stood then; `ab` are the first two digits

A file that stands as it stood need not be read again; one that was written to since has another time of
modification, and is.
"""

import contextlib
import json
import os
import secrets
import time
from pathlib import Path

from repro.stages import files

UNUSED = 90 * 86400.0  # seconds after which it is forgotten how a file stood
TIDY_EVERY = 100  # notes


class VerifiedFiles:
    """Notes below a folder, one a file; two stores may hold the same content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = 0

    def is_as_recorded(self, path: Path, sha256: str) -> bool:
        """Whether a file holds what it should; reads it where no note says so. False if it is not there."""
        try:
            standing = _standing(path)
            note = self._note_of(sha256, standing)
            with contextlib.suppress(FileNotFoundError, ValueError):
                if json.loads(note.read_bytes()) == standing:
                    os.utime(note)
                    return True
            if files.sha256(path) != sha256:
                return False
        except FileNotFoundError:
            return False
        self.note(path, sha256)
        return True

    def note(self, path: Path, sha256: str) -> None:
        """Remember that a file has been read, or written, and holds this."""
        standing = _standing(path)
        note = self._note_of(sha256, standing)
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_name(f".{note.name}-{secrets.token_hex(8)}")
        beside.write_text(json.dumps(standing))
        beside.rename(note)
        self._notes += 1
        if self._notes % TIDY_EVERY == 0:
            self._tidy(sha256[:2])

    def _note_of(self, sha256: str, standing: list[int]) -> Path:
        return self.folder / sha256[:2] / f"{sha256}-{standing[1]}"

    def _tidy(self, part: str) -> None:
        """One of the 256 folders: notes are made while somebody waits for bytes. In turn, as digests fall, all are."""
        of_earlier = self.folder.glob("*-*") if part == "00" else ()  # when they all lay in one folder
        for note in (*of_earlier, *(self.folder / part).iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - note.stat().st_mtime > UNUSED:
                    note.unlink()


def _standing(path: Path) -> list[int]:
    """What changes when a file is written to. A new name or another mode changes none of it."""
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]

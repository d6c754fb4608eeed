"""The few operations that the product needs of an object store, and who offers them.

What each guarantees:

    a file system (file://)     `create` and `upload`: whole and durable or not at all; one of several racers wins.
    S3 (s3://)                  `create`, and `upload` up to 8 MiB: the same, by one conditional PutObject, where the
                                server keeps the condition (`Store.probe` asks). Larger uploads: whole or not at all,
                                but the last of several racers wins: only safe under the prefix of one attempt.
    other fsspec file systems   what their own `pipe_file(mode="create")` and `put_file` do.

`read` and `download` give what was created, `listing` and `folders` all that was created before the call; after
`remove` nothing finds the object.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SMALL = 1 << 20  # bytes; transfers of such files are bound by round trips: many go at once
MANY, FEW = 64, 2  # small and large files under way at once


@dataclass(frozen=True)
class StoredObject:
    """An object: its key, its size in bytes, and when it was written, in seconds since 1970."""

    key: str
    size: int
    modified: float


class Objects(Protocol):
    """Write-once objects below one root; keys are relative POSIX paths.

    Every method raises Unreachable where the store can't be reached or refuses the user, OSError where this
    machine's disk is at fault.
    """

    url: str

    def check(self) -> None:
        """See that the root is there and can be read; a local one is made."""

    def local(self, key: str) -> Path | None:
        """Where this machine can read the object without fetching it; None if it must be fetched."""

    def open_folder(self, key: str) -> None:
        """Make a folder, where there are folders. Raises FileExistsError if somebody else has."""

    def create(self, key: str, data: bytes) -> None:
        """Create a small object. Raises FileExistsError if there is one with other bytes; it stays as it is."""

    def upload(self, key: str, path: Path) -> str:
        """Create an object from a file; returns the SHA-256 of what was sent. Raises FileExistsError as `create`."""

    def read(self, key: str) -> bytes:
        """A small object's bytes. Raises FileNotFoundError."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """So many of an object's bytes, from the offset `start`; fewer at its end. Raises FileNotFoundError."""

    def download(self, key: str, path: Path, size: int) -> str:
        """Write an object's bytes over a local file; returns their SHA-256. Raises FileNotFoundError."""

    def listing(self, folder: str) -> list[StoredObject]:
        """Every object below a folder, sorted by key."""

    def folders(self) -> list[str]:
        """The names of the folders right below the root, sorted."""

    def remove(self, key: str) -> None:
        """Remove an object; one that is gone already does no harm."""

    def remove_folder(self, key: str) -> None:
        """Remove a folder and every object below it."""

    def unfinished(self) -> list[StoredObject]:
        """Uploads that were begun and not ended; their parts take room but are visible to nobody."""

    def abort(self, unfinished: Iterable[StoredObject]) -> None:
        """Drop such uploads."""


def open_objects(url: str) -> Objects:
    """The objects below the root that a URL names.

    Raises:
        ReproError: the URL can't be used: no bucket, no such file system here, no credentials.
    """
    scheme = url.partition("://")[0]
    if scheme == "file":
        from repro.worker.store.objects.folder import LocalObjects

        return LocalObjects(url)
    if scheme in ("s3", "s3a"):
        from repro.worker.store.objects.s3 import S3Objects

        return S3Objects(url)
    from repro.worker.store.objects.any_fsspec import OtherObjects

    return OtherObjects(url)

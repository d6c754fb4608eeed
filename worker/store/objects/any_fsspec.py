"""Objects on any other file system that fsspec knows: gs://, abfs://, sftp://, memory://...

Not guaranteed: more than that file system's own `pipe_file(mode="create")` and `put_file` do; `Store.probe` asks.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from repro.stages import files
from repro.stages.errors import ReproError, Unreachable
from repro.worker.store.objects import StoredObject


class OtherObjects:
    """See `Objects`."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.fs, root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ReproError(f"REPRO_STORE={url}: {error}") from error
        self.root = root.rstrip("/")

    def check(self) -> None:
        with self._reached("the store"):
            self.fs.makedirs(self.root, exist_ok=True)
            _or_nothing(self.fs.ls, self.root)

    def local(self, key: str) -> None:
        return None

    def open_folder(self, key: str) -> None:
        """Not every file system has folders; an attempt's is taken by the creation of its config."""

    def create(self, key: str, data: bytes) -> None:
        with self._reached(key):
            self._make_parent(key)
            try:
                self.fs.pipe_file(self._path(key), data, mode="create")
            except OSError as error:
                # A server may say of a name that is taken only that the request is invalid, and the reply to a create
                # that was applied may be lost, and its repetition then refused: the object itself tells.
                existing = self._bytes_or_none(key)
                if existing is None:
                    raise
                if existing != data:
                    raise FileExistsError(f"{self.url}/{key} is there already") from error

    def upload(self, key: str, path: Path) -> str:
        with self._reached(key):
            if self.fs.exists(self._path(key)):
                raise FileExistsError(f"{self.url}/{key} is there already")
            self._make_parent(key)
            self.fs.put_file(str(path), self._path(key))
        return files.sha256(path)

    def read(self, key: str) -> bytes:
        with self._reached(key):
            return bytes(self.fs.cat_file(self._path(key)))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._reached(key):
            end = min(
                start + length, int(self.fs.size(self._path(key)))
            )  # of what is behind it each says another error
            return bytes(self.fs.cat_file(self._path(key), start=start, end=end)) if start < end else b""

    def download(self, key: str, path: Path, size: int) -> str:
        with self._reached(key):
            self.fs.get_file(self._path(key), str(path))
        return files.sha256(path)

    def listing(self, folder: str) -> list[StoredObject]:
        with self._reached(folder):
            self.fs.invalidate_cache()
            listed = _or_nothing(self.fs.find, self._path(folder))
        return [self._stored(path, listed[path]) for path in sorted(listed)]

    def folders(self) -> list[str]:
        with self._reached("the store"):
            self.fs.invalidate_cache()
            listed = _or_nothing(self.fs.ls, self.root)
        return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in listed if entry["type"] == "directory")

    def remove(self, key: str) -> None:
        with self._reached(key), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(key))

    def remove_folder(self, key: str) -> None:
        with self._reached(key), contextlib.suppress(FileNotFoundError):
            self.fs.rm(self._path(key), recursive=True)

    def unfinished(self) -> list[StoredObject]:
        return []

    def abort(self, unfinished: Iterable[StoredObject]) -> None:
        pass

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _bytes_or_none(self, key: str) -> bytes | None:
        try:
            return bytes(self.fs.cat_file(self._path(key)))
        except OSError:
            return None

    def _make_parent(self, key: str) -> None:
        self.fs.makedirs(self._path(key).rpartition("/")[0], exist_ok=True)

    def _stored(self, path: str, info: dict[str, Any]) -> StoredObject:
        at = info.get("mtime") or info.get("LastModified") or info.get("created") or info.get("updated") or 0
        modified = at.timestamp() if isinstance(at, datetime) else float(at)
        return StoredObject(path.removeprefix(f"{self.root}/"), info.get("size") or 0, modified)

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise Unreachable(f"{self.url}: {what}: {str(error)[:200] or type(error).__name__}") from error


def _or_nothing(listing: Callable[..., Any], path: str) -> Any:
    """Where folders are only prefixes there is none without an object in it."""
    try:
        return listing(path, detail=True)
    except FileNotFoundError:
        return {}

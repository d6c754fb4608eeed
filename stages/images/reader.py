"""Files by mask from any file system. Shared by every stage that reads images."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fsspec
from fsspec.utils import glob_translate

from repro.stages.errors import StageError
from repro.stages.run import Run

# What is held of the files at once: enough for an object store to be read concurrently, little memory.
CHUNK_FILES, CHUNK_BYTES = 256, 32 << 20
AT_ONCE = 32  # requests to a bucket: obstore's, several times as fast as those of s3fs, which lists (RESULTS.md)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that a mask found.

    Attributes:
        name: as outputs show it: relative to the data for a relative mask, else the full URL or path.
        size: in bytes, as listed.
        fs, path: where to read it.
    """

    name: str
    size: int
    fs: Any
    path: str


def find(masks: Any, data: str, key: str = "images") -> list[Entry]:
    """Every file that matches one of the masks, once, sorted by name.

    Args:
        masks: a mask or a list of masks; `**` goes into folders, though not into links to folders: a mask
            must name these. Relative ones are resolved against `data`.
        data: fsspec URL or folder.
        key: the config's key, for messages.

    Raises:
        StageError: a mask is no text, matches nothing, or its place can't be listed.
    """
    masks = [masks] if isinstance(masks, str) else masks
    if not isinstance(masks, list) or not masks or not all(isinstance(m, str) and m for m in masks):
        raise StageError(f'"{key}": expected a mask or a list of masks, got: {masks!r}')
    entries = {entry.name: entry for mask in masks for entry in _match(mask, data, key)}
    return [entries[name] for name in sorted(entries)]


def note(run: Run, entries: Iterable[Entry]) -> None:
    """Keep with the run which data it reads (`data_files`)."""
    for entry in entries:
        run.data_files.note(entry.name, entry.size)


def find_one(path: str, data: str, key: str) -> Entry:
    """The one file at a path, which is resolved as masks are but holds no wildcards.

    Raises:
        StageError: there is no such file.
    """
    place = path if _absolute(path) else posixpath.join(data, path)
    try:
        fs, root = fsspec.url_to_fs(place)
        info = fs.info(root)
    except (FileNotFoundError, PermissionError, NotADirectoryError, ValueError, ImportError) as error:
        raise StageError(f'"{key}": {place} can\'t be read: {type(error).__name__}') from error
    if info["type"] == "directory":
        raise StageError(f'"{key}": {place} is a folder; name a file')
    return Entry(path, info.get("size") or 0, fs, root)


def read(entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """The files' bytes, in order. Object stores are read concurrently, a bounded chunk at a time.

    Raises:
        StageError: a file that was listed is gone or may not be read.
    """
    for chunk in _chunks(entries):
        contents = _contents(chunk[0].fs, [entry.path for entry in chunk])
        for entry, content in zip(chunk, contents, strict=True):
            if isinstance(content, FileNotFoundError | PermissionError | IsADirectoryError):
                raise StageError(f"{entry.name}: listed, but can't be read: {type(content).__name__}")
            if isinstance(content, BaseException):
                raise content
            yield entry, content


def _contents(fs: Any, paths: list[str]) -> Sequence[bytes | BaseException]:
    """The bytes of each, or what came in their place."""
    if "s3" in getattr(fs, "protocol", ()):
        # Once, and not in each of the threads: to make a client takes longer than to read hundreds of files.
        buckets = {name: _bucket(name) for name in {path.partition("/")[0] for path in paths}}
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(lambda path: _from_bucket(buckets, path), paths))
    # cat_ranges and not cat: cat would take "[" in a file's name for a mask.
    contents: list[bytes | BaseException] = fs.cat_ranges(paths, None, None, on_error="return")
    return contents


def _from_bucket(buckets: Mapping[str, Any], path: str) -> bytes | BaseException:
    import obstore
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    bucket, _, key = path.partition("/")
    try:
        return bytes(obstore.get(buckets[bucket], key).bytes())
    except (FileNotFoundError, NotFoundError):
        return FileNotFoundError(path)
    except (PermissionDeniedError, UnauthenticatedError) as error:
        return PermissionError(str(error).partition("\n")[0])
    except BaseError as error:  # after its retries: the network or the server, which may do better later
        return ConnectionError(f"s3://{path}: {str(error).partition(chr(10))[0][:200]}")


@lru_cache(maxsize=8)
def _bucket(name: str) -> Any:
    from repro.stages.s3_client import connect

    return connect(name, f"s3://{name}")[0]


def _match(mask: str, data: str, key: str) -> Iterator[Entry]:
    absolute = _absolute(mask)
    prefix, pattern = _split(mask if absolute else posixpath.normpath(mask))
    place = prefix if absolute else posixpath.join(data, prefix) if prefix else data
    depth = None if "**" in pattern else pattern.count("/") + 1
    try:
        fs, root = fsspec.url_to_fs(place)
        listing = fs.find(root, maxdepth=depth, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        listing = {}
    except (PermissionError, ValueError, ImportError) as error:
        raise StageError(f'"{key}": {mask!r}: {place} can\'t be listed: {error}') from error
    matches = re.compile(glob_translate(pattern)).match
    none = True
    for path, info in listing.items():
        relative = path[len(root.rstrip("/")) :].lstrip("/")
        if matches(relative) and info["type"] != "directory":
            none = False
            yield Entry(posixpath.join(prefix, relative), info.get("size") or 0, fs, path)
    if none:
        raise StageError(f'"{key}": no file matches {pattern!r} in {place}; check the mask and REPRO_DATA')


def _absolute(path: str) -> bool:
    return "://" in path or path.startswith("/")


def _split(mask: str) -> tuple[str, str]:
    """The folder before the first wildcard, which is listed, and the pattern for what lies in it."""
    wild = re.search(r"[*?\[]|$", mask)
    cut = mask.rfind("/", 0, wild.start() if wild else None)
    return mask[: max(cut, 0)] or ("/" if cut == 0 else ""), mask[cut + 1 :]


def _chunks(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        full = len(chunk) == CHUNK_FILES or size + entry.size > CHUNK_BYTES
        if chunk and (full or entry.fs is not chunk[0].fs):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
    if chunk:
        yield chunk

"""Objects in a bucket of S3 or of a server that speaks it.

obstore carries the bytes: it is several times faster than s3fs (`benchmarks/RESULTS.md`). botocore does what obstore
has no operation for.

Not guaranteed: that a server keeps `If-None-Match` (some ignore it; `Store.probe` asks), and that a large object is
refused where one lies: several servers let every racer's multipart upload win. Hence a prefix for each attempt.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from repro.stages.errors import ReproError
from repro.stages.s3_client import connect
from repro.worker.store import interruption
from repro.worker.store.cache import DISK
from repro.worker.store.objects import StoredObject
from repro.worker.store.objects.s3_connection import bucket_and_prefix
from repro.worker.store.objects.s3_errors import code_of, explained

PART = 8 << 20  # bytes; up to here an object is one PutObject
PARTS = 8  # parts of one object under way at once: 64 MiB, twice that where they wait for their turn
CONFLICT_PAUSES = (0.05, 0.2, 1.0)  # seconds between creates of a name that others are creating, too


class S3Objects:
    """See `Objects`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bucket, prefix = bucket_and_prefix(url)
        self.prefix = f"{prefix}/" if prefix else ""
        if not self.bucket:
            raise ReproError(f"REPRO_STORE={url}: no bucket; write s3://BUCKET/PREFIX")
        self.store, self._client = connect(self.bucket, f"REPRO_STORE={url}")

    def check(self) -> None:
        with self._explained("the store"):
            obstore.list_with_delimiter(self.store, f"{self.prefix}.probe")

    def local(self, key: str) -> None:
        return None

    def open_folder(self, key: str) -> None:
        """There are no folders; an attempt's is taken by the creation of its config."""

    def create(self, key: str, data: bytes) -> None:
        with self._explained(key):
            for pause in (*CONFLICT_PAUSES, None):
                try:
                    obstore.put(self.store, self.prefix + key, data, mode="create")
                    return
                except (BaseError, OSError) as error:
                    # The reply to a create that was applied may be lost, and its repetition then refused.
                    stored = self._bytes_or_none(key)
                    if stored == data:
                        return
                    if stored is not None:
                        raise FileExistsError(f"{self.url}/{key} is there already") from None
                    if pause is None or not isinstance(error, AlreadyExistsError):
                        raise
                    time.sleep(pause)  # 409: another create of this name was under way, and failed

    def upload(self, key: str, path: Path) -> str:
        size = path.stat().st_size
        if size <= PART:
            data = path.read_bytes()
            self.create(key, data)
            return hashlib.sha256(data).hexdigest()
        digest = hashlib.sha256()
        with self._explained(key):
            try:
                parts = _parts(path, digest, interruption.checker())
                obstore.put(self.store, self.prefix + key, parts, chunk_size=PART, max_concurrency=PARTS)
            except (BaseError, OSError):
                if self._size_or_none(key) != size:  # else only the reply was lost
                    raise
        return digest.hexdigest()

    def read(self, key: str) -> bytes:
        with self._explained(key):
            return bytes(obstore.get(self.store, self.prefix + key).bytes())

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._explained(key):
            try:
                return bytes(obstore.get_range(self.store, self.prefix + key, start=start, length=length))
            except BaseError as error:
                if code_of(error) == "InvalidRange":  # it begins behind the last byte
                    return b""
                raise

    def download(self, key: str, path: Path, size: int) -> str:
        if size <= PART:
            data = self.read(key)
            with DISK:
                path.write_bytes(data)
            return hashlib.sha256(data).hexdigest()
        with self._explained(key):
            return self._download_parts(key, path, size)

    def listing(self, folder: str) -> list[StoredObject]:
        with self._explained(folder):
            pages = obstore.list(self.store, f"{self.prefix}{folder}/", chunk_size=1000)
            stored = [self._stored(meta) for page in pages for meta in page]
        return sorted(stored, key=lambda one: one.key)

    def folders(self) -> list[str]:
        with self._explained("the store"):
            listed = obstore.list_with_delimiter(self.store, self.prefix or None)
        return sorted(path.removeprefix(self.prefix).strip("/") for path in listed["common_prefixes"])

    def remove(self, key: str) -> None:
        self._delete([self.prefix + key])

    def remove_folder(self, key: str) -> None:
        self._delete([self.prefix + stored.key for stored in self.listing(key)])
        self._remove_empty_folder(f"{self.prefix}{key}/")

    def _remove_empty_folder(self, folder: str) -> None:
        """To S3 a folder is a part of a name only, but SeaweedFS keeps one, and lists it when nothing is left in it."""
        with self._explained(folder):
            below = obstore.list_with_delimiter(self.store, folder)["common_prefixes"]
        for inner in below:
            self._remove_empty_folder(f"{inner}/")
        self._delete([folder])

    def unfinished(self) -> list[StoredObject]:
        uploads: list[StoredObject] = []
        marker: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", Prefix=self.prefix, **marker)
            for upload in page.get("Uploads", ()):
                key = f"{upload['Key'].removeprefix(self.prefix)}?uploadId={upload['UploadId']}"
                uploads.append(StoredObject(key, 0, upload["Initiated"].timestamp()))
            if not page.get("IsTruncated"):
                return uploads
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort(self, unfinished: Iterable[StoredObject]) -> None:
        for upload in unfinished:
            key, _, identity = upload.key.partition("?uploadId=")
            self._call("abort_multipart_upload", Key=self.prefix + key, UploadId=identity)

    def _download_parts(self, key: str, path: Path, size: int) -> str:
        """Ranges at once, hashed in their order, so that no more than a few are held."""
        digest, waiting, check = hashlib.sha256(), deque[Future[Any]](), interruption.checker()
        with ThreadPoolExecutor(PARTS) as threads, path.open("wb") as file:

            def fetch(start: int) -> Any:
                data = obstore.get_range(self.store, self.prefix + key, start=start, length=min(PART, size - start))
                os.pwrite(file.fileno(), data, start)
                return data

            for start in range(0, size, PART):
                check()
                waiting.append(threads.submit(fetch, start))
                if len(waiting) > PARTS + 2:
                    digest.update(waiting.popleft().result())
            while waiting:
                digest.update(waiting.popleft().result())
        return digest.hexdigest()

    def _delete(self, paths: list[str]) -> None:
        """One request an object, which obstore does not make: some servers judge one for many by another policy."""
        with ThreadPoolExecutor(PARTS) as threads:
            list(threads.map(lambda path: self._call("delete_object", Key=path), paths))

    def _stored(self, meta: Any) -> StoredObject:
        return StoredObject(meta["path"].removeprefix(self.prefix), meta["size"], meta["last_modified"].timestamp())

    def _bytes_or_none(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self.store, self.prefix + key).bytes())
        except (BaseError, OSError):
            return None

    def _size_or_none(self, key: str) -> int | None:
        try:
            return int(obstore.head(self.store, self.prefix + key)["size"])
        except (BaseError, OSError):
            return None

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """What obstore has no operation for, by botocore's client, which several threads may share."""
        with self._explained(operation):
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self.bucket, **arguments)
            return answer

    def _explained(self, what: str) -> AbstractContextManager[None]:
        return explained(self.url, self.bucket, what)


def _parts(path: Path, digest: Any, check: Callable[[], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            check()
            digest.update(part)
            yield part

"""Objects in a bucket of S3 or of a server that speaks it.

obstore carries the bytes: it is several times faster than s3fs (`benchmarks/RESULTS.md`). Credentials, region and
endpoint come from where botocore finds them for every other tool: environment, ~/.aws, instance roles.

Not guaranteed: that a server keeps `If-None-Match` (some ignore it; `Store.probe` asks), and that a large object is
refused where one lies: several servers let every racer's multipart upload win. Hence a prefix for each attempt.
"""

import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from repro.stages.errors import ReproError, Unreachable
from repro.worker.store.cache import DISK
from repro.worker.store.objects import Found

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PART = 8 << 20  # bytes; up to here an object is one PutObject
PARTS = 8  # parts of one object under way at once: 64 MiB, twice that where they wait for their turn
RETRY: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
CLIENT: "ClientConfig" = {"connect_timeout": "5s", "timeout": "120s", "read_timeout": "20s"}

CONFLICT_PAUSES = (0.05, 0.2, 1.0)  # seconds between creates of a name that others are creating, too
DENIED = ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "RequestTimeTooSkewed")
NO_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


class S3Objects:
    """See `Objects`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bucket, _, prefix = url.partition("://")[2].partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        if not self.bucket:
            raise ReproError(f"REPRO_STORE={url}: no bucket; write s3://BUCKET/PREFIX")
        self.store = _connect(self.bucket, self.url)

    def check(self) -> None:
        with self._reached("the store"):
            obstore.list_with_delimiter(self.store, f"{self.prefix}.probe")

    def local(self, key: str) -> None:
        return None

    def open_folder(self, key: str) -> None:
        """There are no folders; an attempt's is taken by the creation of its config."""

    def create(self, key: str, data: bytes) -> None:
        with self._reached(key):
            for pause in (*CONFLICT_PAUSES, None):
                try:
                    obstore.put(self.store, self.prefix + key, data, mode="create")
                    return
                except (BaseError, OSError) as error:
                    # The reply to a create that was applied may be lost, and its repetition then refused.
                    there = self._bytes_or_none(key)
                    if there == data:
                        return
                    if there is not None:
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
        with self._reached(key):
            try:
                parts = _parts(path, digest)
                obstore.put(self.store, self.prefix + key, parts, chunk_size=PART, max_concurrency=PARTS)
            except (BaseError, OSError):
                if self._size_or_none(key) != size:  # else only the reply was lost
                    raise
        return digest.hexdigest()

    def read(self, key: str) -> bytes:
        with self._reached(key):
            return bytes(obstore.get(self.store, self.prefix + key).bytes())

    def download(self, key: str, path: Path, size: int) -> str:
        if size <= PART:
            data = self.read(key)
            with DISK:
                path.write_bytes(data)
            return hashlib.sha256(data).hexdigest()
        with self._reached(key):
            return self._download_parts(key, path, size)

    def listing(self, folder: str) -> list[Found]:
        with self._reached(folder):
            pages = obstore.list(self.store, f"{self.prefix}{folder}/", chunk_size=1000)
            found = [self._found(meta) for page in pages for meta in page]
        return sorted(found, key=lambda f: f.key)

    def folders(self) -> list[str]:
        with self._reached("the store"):
            listed = obstore.list_with_delimiter(self.store, self.prefix or None)
        return sorted(path.removeprefix(self.prefix).strip("/") for path in listed["common_prefixes"])

    def remove(self, key: str) -> None:
        self._delete([self.prefix + key])

    def remove_folder(self, key: str) -> None:
        self._delete([self.prefix + found.key for found in self.listing(key)])

    def unfinished(self) -> list[Found]:
        found: list[Found] = []
        marker: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", Prefix=self.prefix, **marker)
            for upload in page.get("Uploads", ()):
                key = f"{upload['Key'].removeprefix(self.prefix)}?uploadId={upload['UploadId']}"
                found.append(Found(key, 0, upload["Initiated"].timestamp()))
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort(self, unfinished: Iterable[Found]) -> None:
        for upload in unfinished:
            key, _, identity = upload.key.partition("?uploadId=")
            self._call("abort_multipart_upload", Key=self.prefix + key, UploadId=identity)

    def _download_parts(self, key: str, path: Path, size: int) -> str:
        """Ranges at once, hashed in their order, so that no more than a few are held."""
        digest, waiting = hashlib.sha256(), deque[Future[Any]]()
        with ThreadPoolExecutor(PARTS) as threads, path.open("wb") as file:

            def fetch(start: int) -> Any:
                data = obstore.get_range(self.store, self.prefix + key, start=start, length=min(PART, size - start))
                os.pwrite(file.fileno(), data, start)
                return data

            for start in range(0, size, PART):
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

    def _found(self, meta: Any) -> Found:
        return Found(meta["path"].removeprefix(self.prefix), meta["size"], meta["last_modified"].timestamp())

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
        """What obstore has no word for, through s3fs."""
        with self._reached(operation):
            found: dict[str, Any] = self._s3fs.call_s3(operation, Bucket=self.bucket, **arguments)
            return found

    @cached_property
    def _s3fs(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(skip_instance_cache=True)

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        """Say in one line what an error of the client means; FileNotFoundError stays what it is."""
        try:
            yield
        except FileExistsError:
            raise
        except (BaseError, BotoCoreError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # this machine's own disk
            code = _code(error)
            if code == "NoSuchBucket":
                raise Unreachable(f"there is no bucket {self.bucket}; make it, or see REPRO_STORE") from None
            if isinstance(error, FileNotFoundError):
                raise FileNotFoundError(f"{self.url}/{what} is not there") from None
            if code in DENIED or isinstance(error, PermissionError):
                why = f"access denied ({code or 'no permission'}); see AWS_ACCESS_KEY_ID and the bucket's policy"
            else:
                why = f"{code or _reason(error)}; see REPRO_STORE and AWS_ENDPOINT_URL"
            raise Unreachable(f"{self.url}: {what}: {why}") from None


def create_bucket(url: str, patience: float) -> bool:
    """Make the bucket that a store's URL names; False if it is there. Waits some seconds for a server that starts.

    Raises:
        Unreachable: the server does not answer, or refuses the user.
    """
    bucket = url.partition("://")[2].partition("/")[0]
    deadline = time.monotonic() + patience
    while True:
        try:
            return _create_bucket(Session().create_client("s3", region_name="us-east-1"), bucket)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                return False
            why = f"{code}; see AWS_ACCESS_KEY_ID"
            starting = code in ("ServiceUnavailable", "InternalError", "503", "500")
        except BotoCoreError as error:
            why, starting = f"{error}; see AWS_ENDPOINT_URL", True
        if not starting or time.monotonic() > deadline:
            raise Unreachable(f"the bucket {bucket} can't be made: {why}")
        time.sleep(0.5)


def _create_bucket(client: Any, bucket: str) -> bool:
    with suppress(ClientError):  # of some regions' servers, creating one's own bucket again is no error
        client.head_bucket(Bucket=bucket)
        return False
    client.create_bucket(Bucket=bucket)
    return True


def _connect(bucket: str, url: str) -> S3Store:
    session = Session()
    try:
        if session.get_credentials() is None:
            raise ReproError(f"REPRO_STORE={url}: no credentials for S3; {NO_CREDENTIALS}")
        client = session.create_client("s3", region_name=session.get_config_variable("region") or "us-east-1")
        endpoint, region = client.meta.endpoint_url, client.meta.region_name
    except BotoCoreError as error:
        raise ReproError(f"REPRO_STORE={url}: {error}") from None
    certificate = session.get_config_variable("ca_bundle")
    options: ClientConfig = {**CLIENT, "allow_http": endpoint.startswith("http://")}
    if certificate:
        options["root_certificate"] = Path(certificate).read_bytes()
    return S3Store(
        bucket,
        endpoint=endpoint,
        region=region,
        credential_provider=_credentials(session),
        virtual_hosted_style_request=False,
        client_options=options,
        retry_config=RETRY,
    )


def _credentials(session: Session) -> Callable[[], Any]:
    """Asked anew before they expire; botocore renews what can be renewed."""

    def provide() -> dict[str, Any]:
        found = session.get_credentials()
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(found, "_expiry_time", None),
        }

    return provide


def _parts(path: Path, digest: Any) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
            yield part


def _code(error: Exception) -> str:
    """The server's own word for what is wrong, from the XML that the message quotes; empty if it sent none."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def _reason(error: Exception) -> str:
    """The innermost cause, which the client tells in the details after its first line, if at all."""
    causes = re.findall(r'message: "([^"]+)"', str(error))
    first = str(error).partition("\n")[0]
    return (causes[-1] if causes else first.rpartition(": ")[2])[:200] or type(error).__name__

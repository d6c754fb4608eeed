"""The objects of a store as a bystander sees them: what is there, whether it has changed, and its bytes."""

import contextlib
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests import s3
from tests.chaos.history import Final


class LocalObjects:
    """Below a `file://` root. A name that begins with a dot is a file that is still being written, and no object."""

    def __init__(self, url):
        self.url, self.root = url, Path(url.removeprefix("file://"))

    def listing(self):
        """Path -> what is another after any change of the object."""
        found = {}
        for parent, _, names in os.walk(self.root):
            for path in (Path(parent) / name for name in names if not name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    key = path.relative_to(self.root).as_posix()
                    found[key] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def folders(self):
        """The folders right below the root: those of attempts even if they hold no object."""
        attempts = {path.name for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")}
        return attempts | {path.partition("/")[0] for path in self.listing()}

    def uploads(self):
        return set()

    def read(self, path):
        return (self.root / path).read_bytes()


class BucketObjects:
    """Below a root in a bucket, asked of the server itself, whatever stands between it and the workers."""

    def __init__(self, server, url):
        self.url, self.client = url, server.client()
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/"
        told = {"endpoint": server.endpoint, "access_key_id": s3.KEY, "secret_access_key": s3.SECRET}
        self._store = S3Store(self.bucket, **told, region="us-east-1", client_options={"allow_http": True})

    def listing(self):
        found = self._pages("list_objects_v2", "Contents")
        return {self._path(entry): (entry["ETag"], entry["Size"], entry["LastModified"]) for entry in found}

    def folders(self):
        return {path.partition("/")[0] for path in self.listing()}

    def uploads(self):
        """The objects whose upload was begun and not ended; somebody pays for their parts."""
        return {self._path(entry) for entry in self._pages("list_multipart_uploads", "Uploads")}

    def read(self, path):
        return bytes(obstore.get(self._store, self.prefix + path).bytes())

    def _pages(self, operation, key):
        pages = self.client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=self.prefix)
        return [entry for page in pages for entry in page.get(key, ())]

    def _path(self, entry):
        return entry["Key"].removeprefix(self.prefix)


def final(db, objects):
    """How the queue and the store stand now."""
    with ThreadPoolExecutor(16) as threads:
        paths = list(objects.listing())
        data = dict(zip(paths, threads.map(objects.read, paths), strict=True))
    return Final(
        runs={run["_id"]: run for run in db.runs.find()},
        objects={path: hashlib.sha256(found).hexdigest() for path, found in data.items()},
        sizes={path: len(found) for path, found in data.items()},
        folders=objects.folders(),
        manifests={
            path.removesuffix("/repro-run.json"): json.loads(found)
            for path, found in data.items()
            if path.count("/") == 1 and path.endswith("/repro-run.json")
        },
        root=objects.url,
        uploads=objects.uploads(),
    )

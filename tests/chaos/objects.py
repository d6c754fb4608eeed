"""The objects of a store as a bystander sees them: what is there, whether it has changed, and its bytes."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

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
        """The attempts' folders, even those that hold no object."""
        return {path.name for path in self.root.iterdir() if path.is_dir()}

    def read(self, path):
        return (self.root / path).read_bytes()


def final(db, objects):
    """How the queue and the store stand now."""
    data = {path: objects.read(path) for path in objects.listing()}
    return Final(
        runs={run["_id"]: run for run in db.runs.find()},
        objects={path: hashlib.sha256(found).hexdigest() for path, found in data.items()},
        sizes={path: len(found) for path, found in data.items()},
        folders=objects.folders(),
        manifests={
            path.removesuffix("/run.json"): json.loads(found)
            for path, found in data.items()
            if path.count("/") == 1 and path.endswith("/run.json")
        },
        root=objects.url,
    )

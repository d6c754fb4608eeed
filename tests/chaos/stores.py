"""Where a storm's results go: a folder on a small disk, or a bucket behind a proxy; each with the faults of its own."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos import faults, objects
from tests.chaos.proxy import HttpFaults
from tests.disk import SmallDisk, small_disk
from tests.s3 import Server


@dataclass
class Place:
    """`environment` is how workers are told of it; they may have to go through `proxy`, `objects` does not."""

    environment: dict[str, str]
    objects: Any
    faults: tuple[Callable[..., None], ...]
    disk: SmallDisk | None = None
    proxy: HttpFaults | None = None


@contextmanager
def folder(path):
    with small_disk(path, megabytes=1024) as disk:
        root = disk.folder / "store"
        environment = {"REPRO_STORE": str(root)}
        yield Place(environment, objects.LocalObjects(f"file://{root}"), faults.OF_A_FOLDER, disk=disk)


@contextmanager
def bucket(server):
    """A fresh one on a real S3 server."""
    with HttpFaults(server.port) as proxy:
        url = f"s3://{server.bucket()}/runs"
        environment = Server(server.kind, proxy.port).environment | {"REPRO_STORE": url}
        yield Place(environment, objects.BucketObjects(server, url), faults.OF_A_BUCKET, proxy=proxy)

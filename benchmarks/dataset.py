"""How fast `make_dataset` reads many small objects from a bucket, beside s3fs, on real S3 servers of this machine.

python -m benchmarks.dataset [--objects 10000] [--server seaweedfs ceph]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import obstore
import s3fs

from repro.stages.images import reader
from repro.stages.s3_client import connect
from tests import s3

SIZE = 300  # bytes, as of a small picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--server", nargs="*", choices=("seaweedfs", "ceph"), default=["seaweedfs", "ceph"])
    options = parser.parse_args()
    for kind in options.server:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text) / kind
            start = s3.start_ceph if kind == "ceph" else s3.start_seaweedfs
            server = s3.Server(kind, start(folder), folder)
            try:
                measure(server, options.objects)
            finally:
                s3.stop_ceph(folder, server.port) if kind == "ceph" else s3.stop_seaweedfs(server.port)


def measure(server: s3.Server, count: int) -> None:
    os.environ.update(server.environment)
    s3fs.S3FileSystem.clear_instance_cache()  # of the server before
    reader._bucket.cache_clear()
    bucket = server.bucket()
    store, _ = connect(bucket, bucket)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda i: obstore.put(store, f"d/{i // 100}/{i}.png", os.urandom(SIZE)), range(count)))
    entries = reader.find("d/**/*.png", f"s3://{bucket}")
    assert len(entries) == count
    ours = timed(lambda: len(list(reader.read(entries))))
    theirs = timed(partial(by_s3fs, [entry.path for entry in entries]))
    print(f"{server.kind}: {count} objects of {SIZE} bytes: make_dataset's reader {ours:.2f} s, s3fs {theirs:.2f} s; "
          f"{theirs / ours:.1f} times as fast")  # fmt: skip


def by_s3fs(paths: list[str]) -> int:
    """In the chunks in which the reader asks."""
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    parts = [paths[start : start + reader.CHUNK_FILES] for start in range(0, len(paths), reader.CHUNK_FILES)]
    return sum(len(fs.cat_ranges(part, None, None, on_error="return")) for part in parts)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

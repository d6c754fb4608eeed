"""make_dataset from S3: listed once, read concurrently within bounds, the same bytes as from a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from repro.stages.images import reader
from tests.chaos.proxy import HttpFaults
from tests.s3 import Server

COUNT = 1_100  # two pages of a listing


@pytest.fixture
def folder(tmp_path):
    """Images in folders named after their class."""
    for number in range(COUNT):
        place = tmp_path / "raw" / "images" / str(number % 3)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number % 256, dtype=np.uint8)).save(place / f"{number:04}.png")
    return tmp_path / "raw"


def test_from_s3_it_lists_once_and_gives_the_same_bytes(ceph, folder, tmp_path, monkeypatch):
    for name, value in ceph.environment.items():
        monkeypatch.setenv(name, value)
    bucket = ceph.bucket()
    fsspec.filesystem("s3", skip_instance_cache=True).put(f"{folder}/", f"{bucket}/raw/", recursive=True)
    with HttpFaults(ceph.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", Server("ceph", proxy.port).endpoint)
        # A stall of no length disturbs nobody and is counted.
        proxy.next(method="GET", contains="list-type=2", fault="stall", times=10**6)
        proxy.next(method="GET", contains=".png", fault="stall", times=10**6)
        (tmp_path / "data.json").write_text(json.dumps({"stage": "make_dataset", "images": "images/**/*.png"}))
        found = {}
        for place, data in (("s3", f"s3://{bucket}/raw"), ("local", str(folder))):
            words = [sys.executable, "-m", "repro", "run", "data.json", "--root", place]
            done = subprocess.run(
                words, cwd=tmp_path, env=os.environ | {"REPRO_DATA": data}, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr
            found[place] = {p.name: p.read_bytes() for p in Path(tmp_path / place / "data").glob("[dm]*")}
        listings = [path for _, _, path in proxy.struck if "list-type=2" in path]
        reads = [path for _, _, path in proxy.struck if path.endswith(".png")]
    assert found["s3"] == found["local"]
    assert found["s3"].keys() == {"data.bin", "metadata.json"}
    assert len(listings) == len(set(listings)) == -(-COUNT // 1000)
    assert len(reads) == len(set(reads)) == COUNT


READS = """
import sys, fsspec
from repro.stages.images import reader
fs = fsspec.filesystem("s3")
entries = [reader.Entry(name, 1, fs, f"{sys.argv[1]}/{name}") for name in ("a[1].txt", "gone.txt")]
for entry, content in reader.read(entries):
    print(entry.name, content)
"""


def test_what_was_listed_and_is_gone_is_told(ceph):
    """In a process of its own: threads of obstore do not outlive a fork, by which other tests run stages."""
    bucket = ceph.bucket()
    ceph.client().put_object(Bucket=bucket, Key="a[1].txt", Body=b"a")
    words = [sys.executable, "-c", READS, bucket]
    done = subprocess.run(words, env=os.environ | ceph.environment, capture_output=True, text=True, check=False)
    assert done.stdout == "a[1].txt b'a'\n"
    assert "StageError: gone.txt: listed, but can't be read: FileNotFoundError" in done.stderr


def test_what_is_held_at_once_is_bounded(monkeypatch):
    """In files and in bytes, whatever the sizes."""
    held = []

    class Fs:
        def cat_ranges(self, paths, starts, ends, on_error):
            held.append(len(paths))
            return [b"x"] * len(paths)

    fs = Fs()
    small = [reader.Entry(str(number), 10, fs, str(number)) for number in range(1000)]
    large = [reader.Entry(str(number), reader.CHUNK_BYTES // 2, fs, str(number)) for number in range(10)]
    assert len(list(reader.read(small + large))) == 1010
    assert max(held) == reader.CHUNK_FILES
    assert max(held[-4:]) == 2

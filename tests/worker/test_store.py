"""The store, on each kind of it: created once, whole, under a race; what was recorded is what is read."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import s3fs

from repro.stages import files
from repro.stages.errors import ReproError, StageError, Unreachable
from repro.worker.store.objects import SMALL
from repro.worker.store.objects.any_fsspec import OtherObjects
from repro.worker.store.objects.s3 import PART
from repro.worker.store.store import Store
from tests.disk import small_disk

KINDS = ["local", "ceph", "seaweedfs", "s3fs", "memory"]
TOKEN = "0123456789abcdef"


@pytest.fixture(params=KINDS)
def store(request, tmp_path, monkeypatch):
    """A store of each kind; `s3fs` is any fsspec file system's way, on a real server."""
    kind = request.param
    if kind in ("local", "memory"):
        url = {"local": f"file://{tmp_path}/a store", "memory": f"memory://{secrets.token_hex(8)}"}[kind]
        store = Store.open(url, tmp_path / "home")
    else:
        server = request.getfixturevalue("seaweedfs" if kind == "seaweedfs" else "ceph")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = Store.open(f"s3://{server.bucket()}/a prefix", tmp_path / "home")
        if kind == "s3fs":
            s3fs.S3FileSystem.clear_instance_cache()  # of another test's server
            store.objects = OtherObjects(store.url)
    store.objects.check()
    return store


def put(folder, **contents):
    for name, data in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def attempt(store, name="model", token=TOKEN):
    location = store.location(name, token)
    store.open_attempt(location)
    return location


def described(**contents):
    return [
        {"path": name.replace("__", "/"), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(contents.items())
    ]


def test_of_sixteen_writers_of_one_file_one_wins_and_its_bytes_stay(store):
    if isinstance(store.objects, OtherObjects) and "memory" in store.url:
        pytest.skip("fsspec's memory file system is for one thread")
    location, barrier = attempt(store), threading.Barrier(16)

    def write(number):
        barrier.wait()
        try:
            store.create(location, "repro-run.json", bytes([number]) * 100_000)
            return number
        except FileExistsError:
            return None

    for _ in range(3 if store.is_remote is False else 1):
        with ThreadPoolExecutor(16) as threads:
            won = [number for number in threads.map(write, range(16)) if number is not None]
        assert len(won) == 1
        assert store.read(location, "repro-run.json") == bytes(won) * 100_000
        assert [stored.key for stored in store.contents(location)] == [f"model-{TOKEN[:8]}/repro-run.json"]
        store.remove(location)


def test_what_was_pushed_comes_back_as_it_was(store, tmp_path):
    contents = {
        "empty.txt": b"",
        "small.txt": b"first",
        "deep__er__medium.bin": os.urandom(SMALL + 1),
        "large.bin": os.urandom(2 * PART + 12_345),
        "a name with ümläut & plus+": b"x",
    }
    location = attempt(store)
    outputs = store.push(location, put(tmp_path / "out", **contents), [name.replace("__", "/") for name in contents])
    assert outputs == sorted(described(**contents), key=lambda output: output["path"])
    store.pull(outputs, location, tmp_path / "in")
    for output in outputs:
        name = output["path"].replace("/", "__")
        assert (tmp_path / "in" / output["path"]).read_bytes() == contents[name]
    store.check_outputs(outputs, location, checksums=True)
    keys = [stored.key.partition("/")[2] for stored in store.contents(location)]
    assert sorted(keys) == [output["path"] for output in outputs]
    assert store.attempts() == [location]


def test_a_push_replaces_nothing(store, tmp_path):
    location = attempt(store)
    store.create(location, "a.txt", b"first")
    with pytest.raises(FileExistsError):
        store.push(location, put(tmp_path / "out", **{"a.txt": b"second"}), ["a.txt"])
    assert store.read(location, "a.txt") == b"first"


@pytest.mark.parametrize("size", [5, SMALL + 5, PART + 5])
def test_an_object_that_changed_is_named_with_both_sums(store, tmp_path, size):
    location = attempt(store)
    good, bad = os.urandom(size), os.urandom(size)
    store.create(location, "a.bin", bad)
    (recorded,) = described(**{"a.bin": good})
    with pytest.raises(StageError) as raised:
        store.pull([recorded], location, tmp_path / "in")
    for part in ("a.bin", hashlib.sha256(good).hexdigest(), hashlib.sha256(bad).hexdigest()):
        assert part in str(raised.value)
    assert not (tmp_path / "in" / "a.bin").exists()
    with pytest.raises(StageError, match=r"a\.bin has .* SHA-256"):
        store.check_outputs([recorded], location, checksums=True)


def test_an_object_that_is_gone_or_of_another_size_is_named(store, tmp_path):
    location = attempt(store)
    store.create(location, "a.txt", b"first")
    (right,) = described(**{"a.txt": b"first"})
    with pytest.raises(StageError, match=r"gone from the store.*b\.txt"):
        store.pull([right | {"path": "b.txt", "sha256": "0" * 64}], location, tmp_path / "in")
    with pytest.raises(StageError, match=r"gone from the store.*b\.txt"):
        store.check_outputs([right | {"path": "b.txt"}], location, checksums=False)
    with pytest.raises(StageError, match=r"a\.txt has 5 bytes"):
        store.check_outputs([right | {"size": 6}], location, checksums=False)


def test_inputs_are_read_only_links(store, tmp_path):
    location = attempt(store)
    outputs = store.push(location, put(tmp_path / "out", **{"a.txt": b"first"}), ["a.txt"])
    store.pull(outputs, location, tmp_path / "in")
    assert (tmp_path / "in" / "a.txt").stat().st_mode & 0o222 == 0


def test_the_marks_of_complete_attempts_are_read(store):
    complete, broken = attempt(store, "a"), attempt(store, "b")
    store.create(complete, "repro-config.json", b"{}")
    store.create(complete, "repro-run.json", b'{"name": "a"}')
    store.create(broken, "repro-config.json", b"{}")
    assert store.attempts() == [complete, broken]
    (mark,) = store.marks(store.attempts())
    assert (mark.location, mark.data) == (complete, b'{"name": "a"}')
    assert mark.written_at > 1.7e9


def test_a_removed_attempt_is_gone_and_its_neighbour_stays(store):
    one, other = attempt(store, "a"), attempt(store, "a", "fedcba98")
    for location in (one, other):
        store.create(location, "repro-config.json", b"{}")
        store.create(location, "deep/x.txt", b"x")
        store.create(location, "repro-run.json", b"{}")
    store.remove(one)
    assert store.attempts() == [other]
    assert store.contents(one) == []
    assert len(store.contents(other)) == 3


def test_a_probe_finds_that_names_are_refused_and_leaves_nothing(store):
    assert store.probe() is True
    assert store.attempts() == []
    assert store.objects.listing(".probe") == []


def test_a_full_disk_is_told_in_a_line(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        disk.fill()
        with pytest.raises(Unreachable, match="can't be written: No space left on device; see REPRO_STORE"):
            Store.open(f"file://{tmp_path}/disk/store", tmp_path / "home").probe()


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_probes_do_not_disturb_each_other(store, tmp_path):
    """As those of workers that start at once on a new store: one has made the folder, another leaves it."""
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: store.probe(), range(64))) == [True] * 64
    assert list((tmp_path / "a store").iterdir()) == []


def test_a_second_pull_fetches_nothing(store, tmp_path):
    location = attempt(store)
    outputs = store.push(location, put(tmp_path / "out", **{"a.txt": b"first", "b.txt": b"b"}), ["a.txt", "b.txt"])
    store.pull(outputs, location, tmp_path / "in")
    if not store.is_remote:
        return
    store.remove(location)
    store.pull(outputs, location, tmp_path / "again")
    assert (tmp_path / "again" / "a.txt").read_bytes() == b"first"


def test_a_local_object_that_changes_after_it_was_read_is_read_again(tmp_path):
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    location = attempt(store)
    outputs = store.push(location, put(tmp_path / "out", **{"a.txt": b"first"}), ["a.txt"])
    store.pull(outputs, location, tmp_path / "in")
    stored = tmp_path / "store" / f"model-{TOKEN[:8]}" / "a.txt"
    stored.chmod(0o644)
    stored.write_bytes(b"FIRST")
    with pytest.raises(StageError, match="has changed in the store"):
        store.pull(outputs, location, tmp_path / "again")


def test_unfinished_uploads_are_listed_and_dropped(ceph, tmp_path, monkeypatch):
    for name, value in ceph.environment.items():
        monkeypatch.setenv(name, value)
    store = Store.open(f"s3://{ceph.bucket()}/runs", tmp_path)
    client, bucket = ceph.client(), store.objects.bucket
    client.create_multipart_upload(Bucket=bucket, Key="runs/model-01234567/large.bin")
    client.create_multipart_upload(Bucket=bucket, Key="elsewhere/large.bin")
    (upload,) = store.objects.unfinished()
    assert upload.key.startswith("model-01234567/large.bin?uploadId=")
    store.objects.abort([upload])
    assert store.objects.unfinished() == []
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


MOVER = """
import json, resource, sys
from pathlib import Path
from repro.worker.store.store import Store
url, folder, recorded = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
store = Store.open(url, folder / "home", 10**11)
store.objects.check()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
location = f"{store.url}/x-00000000"
if recorded:
    store.pull(recorded, location, folder / "in")
else:
    recorded = store.push(location, folder / "out", ["a.bin", "b.bin"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([recorded, (peak - before) * 1024]))
"""


def test_large_files_move_in_bounded_memory(ceph, tmp_path):
    url, environment = f"s3://{ceph.bucket()}/runs", os.environ | ceph.environment
    put(tmp_path / "out", **{name: os.urandom(1 << 20) * 400 for name in ("a.bin", "b.bin")})

    def move(recorded):
        words = [sys.executable, "-c", MOVER, url, str(tmp_path), json.dumps(recorded)]
        return json.loads(subprocess.run(words, env=environment, check=True, capture_output=True).stdout)

    outputs, pushing = move([])
    _, pulling = move(outputs)
    assert max(pushing, pulling) < 256 << 20
    assert files.sha256(tmp_path / "in" / "a.bin") == files.sha256(tmp_path / "out" / "a.bin")


@pytest.mark.parametrize("kind", ["ceph", "seaweedfs"])
def test_what_is_wrong_with_a_bucket_is_said_in_a_line(request, kind, tmp_path, monkeypatch):
    server = request.getfixturevalue(kind)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreachable, match=r"no bucket not-there.*REPRO_STORE"):
        Store.open("s3://not-there/runs", tmp_path).objects.check()
    with pytest.raises(ReproError, match="s3://BUCKET/PREFIX"):
        Store.open("s3://", tmp_path)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ReproError, match="no credentials"):
        Store.open("s3://not-there/runs", tmp_path)


def test_a_wrong_key_is_refused_without_being_shown(ceph, tmp_path, monkeypatch):
    for name, value in (ceph.environment | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreachable, match="access denied") as raised:
        Store.open(f"s3://{ceph.bucket()}/runs", tmp_path).objects.check()
    assert "not-the-secret" not in str(raised.value)


def test_a_file_system_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(ReproError, match="REPRO_STORE=nosuch://x"):
        Store.open("nosuch://x", tmp_path)


def test_a_range_behind_the_last_byte_is_empty(store):
    attempt(store)
    for name, data in (("three", b"123"), ("empty", b"")):
        store.objects.create(f"model-01234567/{name}", data)
        assert store.objects.read_range(f"model-01234567/{name}", len(data), 5) == b""
    assert store.objects.read_range("model-01234567/three", 1, 5) == b"23"
    with pytest.raises(FileNotFoundError):
        store.objects.read_range("model-01234567/none", 0, 1)

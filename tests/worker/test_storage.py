"""The local store: created once, whole, under a race; what was recorded is what is read."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.errors import ReproError, StageError
from worker.storage import LocalStore, local_path


@pytest.fixture
def store(tmp_path):
    found = LocalStore(f"file://{tmp_path}/a store")
    found.check()
    return found


def test_of_sixteen_writers_of_one_file_one_wins_and_its_bytes_stay(store):
    location = store.location("model", "0123456789abcdef")
    store.open_attempt(location)
    barrier = threading.Barrier(16)

    def write(number):
        barrier.wait()
        try:
            store.create(location, "run.json", bytes([number]) * 100_000)
            return number
        except FileExistsError:
            return None

    with ThreadPoolExecutor(16) as threads:
        won = [number for number in threads.map(write, range(16)) if number is not None]
    folder = local_path(location)
    assert len(won) == 1
    assert (folder / "run.json").read_bytes() == bytes(won) * 100_000
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_the_folder_of_an_attempt_has_one_owner(store):
    location = store.location("model", "0123456789abcdef")
    store.open_attempt(location)
    with pytest.raises(FileExistsError):
        store.open_attempt(location)


def test_a_push_replaces_nothing(store, tmp_path):
    location = store.location("model", "0123456789abcdef")
    store.open_attempt(location)
    store.create(location, "a.txt", b"first")
    (tmp_path / "a.txt").write_text("second")
    with pytest.raises(FileExistsError):
        store.push(location, tmp_path, ["a.txt"])
    assert (local_path(location) / "a.txt").read_text() == "first"


def test_results_are_read_only(store):
    location = store.location("model", "0123456789abcdef")
    store.open_attempt(location)
    store.create(location, "a.txt", b"first")
    assert (local_path(location) / "a.txt").stat().st_mode & 0o222 == 0


def test_a_pull_checks_what_was_recorded(store, tmp_path):
    location = store.location("data", "0123456789abcdef")
    store.open_attempt(location)
    store.create(location, "a.txt", b"first")
    store.pull([{"path": "a.txt", "size": 5}], location, tmp_path / "in")
    assert (tmp_path / "in" / "a.txt").read_text() == "first"
    with pytest.raises(StageError, match=r"a\.txt has 5 bytes, 6 were recorded"):
        store.pull([{"path": "a.txt", "size": 6}], location, tmp_path / "in2")
    with pytest.raises(StageError, match=r"gone from the store.*b\.txt"):
        store.pull([{"path": "b.txt", "size": 6}], location, tmp_path / "in3")


def test_a_store_that_this_version_cannot_write_is_refused():
    with pytest.raises(ReproError, match="s3://bucket/runs"):
        LocalStore("s3://bucket/runs")

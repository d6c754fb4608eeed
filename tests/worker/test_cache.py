"""The cache: fetched once, never partial, never stale, bounded, whatever dies."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from repro.worker.store.cache import CHECKED, Cache

FETCHER = """
import sys, time
from pathlib import Path
from repro.worker.store.cache import Cache
folder, sha256, link, source, calls, hang = sys.argv[1:]

def fetch(path):
    with open(calls, "a") as file:
        file.write("called\\n")
    data = Path(source).read_bytes()
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        if hang == "hang":
            print("half", flush=True)
            time.sleep(600)
        file.write(data[len(data) // 2 :])

Cache(Path(folder)).lay(sha256, Path(link), fetch)
"""


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", most=100)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def lay(cache, link, data, calls=None):
    def fetch(path):
        path.write_bytes(data)
        if calls is not None:
            calls.append(link.name)

    cache.lay(sha256(data), link, fetch)


def held(cache):
    return {path.read_bytes() for path in cache._folder.glob("*/[!.]*")}


def fetcher(tmp_path, data, link, hang="no"):
    source = tmp_path / "source"
    if not source.exists():  # written again, it would be empty for a moment, in which another fetcher may read it
        source.write_bytes(data)
    arguments = [tmp_path / "cache", sha256(data), tmp_path / link, source, tmp_path / "calls", hang]
    return subprocess.Popen([sys.executable, "-c", FETCHER, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_the_second_time_nothing_is_fetched(cache, tmp_path):
    calls = []
    for name in ("a", "b"):
        lay(cache, tmp_path / name, b"data", calls)
        assert (tmp_path / name).read_bytes() == b"data"
        assert (tmp_path / name).stat().st_mode & 0o222 == 0
    assert calls == ["a"]


def test_processes_that_need_the_same_fetch_it_once(tmp_path):
    data = os.urandom(1 << 20)
    with ExitStack() as stack:
        racers = [stack.enter_context(fetcher(tmp_path, data, f"link{number}")) for number in range(6)]
        assert [racer.wait(300) for racer in racers] == [0] * 6
    assert (tmp_path / "calls").read_text() == "called\n"
    for number in range(6):
        assert (tmp_path / f"link{number}").read_bytes() == data


def test_threads_that_need_the_same_fetch_it_once(cache, tmp_path):
    calls, barrier = [], threading.Barrier(8)

    def race(number):
        barrier.wait()
        lay(cache, tmp_path / str(number), b"data", calls)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(race, range(8)))
    assert len(calls) == 1
    assert list(cache._folder.glob("*/.*")) == []


def test_a_fetch_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path):
    data = os.urandom(1 << 20)
    with fetcher(tmp_path, data, "link", "hang") as victim:
        assert victim.stdout.readline() == "half\n"
        with fetcher(tmp_path, data, "other") as waiting:
            assert list((tmp_path / "cache").glob("*/[!.]*")) == []
            victim.send_signal(signal.SIGKILL)
            assert waiting.wait(300) == 0
    assert (tmp_path / "other").read_bytes() == data
    assert not (tmp_path / "link").exists()
    assert (tmp_path / "calls").read_text() == "called\n" * 2


def test_a_fetch_that_fails_is_its_callers_error_and_the_next_one_starts_anew(cache, tmp_path):
    def breaks(path):
        path.write_bytes(b"ha")
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        cache.lay(sha256(b"half"), tmp_path / "a", breaks)
    assert not cache.has(sha256(b"half"))
    lay(cache, tmp_path / "a", b"half")
    assert (tmp_path / "a").read_bytes() == b"half"


@pytest.mark.parametrize("written", [b"evil", b"longer than it was"])
def test_what_a_stage_wrote_to_its_input_is_not_given_to_the_next(cache, tmp_path, written):
    calls = []
    lay(cache, tmp_path / "a", b"data", calls)
    (tmp_path / "a").chmod(0o644)
    (tmp_path / "a").write_bytes(written)
    lay(cache, tmp_path / "b", b"data", calls)
    assert (tmp_path / "b").read_bytes() == b"data"
    assert calls == ["a", "b"]


def test_an_object_whose_time_changed_is_read_before_it_is_used_and_then_trusted_again(cache, tmp_path):
    """As by a copy of the disk that does not keep times."""
    calls = []
    lay(cache, tmp_path / "a", b"data", calls)
    os.utime(tmp_path / "a")
    lay(cache, tmp_path / "b", b"data", calls)
    assert calls == ["a"]
    assert (tmp_path / "a").stat().st_mtime_ns == CHECKED


def test_what_was_used_least_recently_goes_first_and_what_is_in_use_stays(cache, tmp_path):
    old, used, in_use = b"o" * 40, b"u" * 40, b"i" * 40
    now = time.time()
    for age, (name, data) in enumerate({"in_use": in_use, "old": old, "used": used}.items()):
        lay(cache, tmp_path / name, data)
        os.utime(tmp_path / name, ns=(int((now - 1000 + age) * 1e9), CHECKED))
    (tmp_path / "old").unlink()
    (tmp_path / "used").unlink()
    lay(cache, tmp_path / "used again", used)
    (tmp_path / "used again").unlink()
    assert cache.evict() == 40
    assert held(cache) == {used, in_use}
    assert cache.evict(room=30) == 40
    assert held(cache) == {in_use}
    assert cache.evict(room=1000) == 0
    (tmp_path / "in_use").unlink()
    assert cache.evict(room=1000) == 40


def test_what_a_dead_fetch_has_left_is_cleared_away_in_time_and_a_live_one_is_not(cache, tmp_path):
    lay(cache, tmp_path / "a", b"data")
    dead = cache._folder / "de" / ".dead"
    dead.parent.mkdir()
    dead.write_bytes(b"half")
    cache.evict()
    assert dead.exists()
    os.utime(dead, (time.time() - 7200,) * 2)

    def slow(path):
        path.write_bytes(b"slow")
        os.utime(path, (time.time() - 7200,) * 2)
        cache.evict()
        assert path.exists()

    cache.lay(sha256(b"slow"), tmp_path / "slow", slow)
    assert not dead.exists()


def test_the_bound_is_a_tenth_of_the_disk_or_less(tmp_path):
    status = os.statvfs(tmp_path)
    most = Cache(tmp_path / "cache").most
    assert most == min(50 * 10**9, status.f_frsize * status.f_blocks // 10)
    assert Cache(Path("/nowhere"), 7).most == 7

"""Bytes that nobody wants any more are not moved: a cancel and a worker's end do not wait for gigabytes."""

import signal
import time

import pytest

from repro.scheduler import runs
from repro.worker.store.interruption import Interrupted, interrupted_if
from repro.worker.store.objects import MANY
from repro.worker.store.objects.s3 import PART

FILES = 4 * MANY
PATIENCE = 100.0


class Counted:
    """A store's objects, each transfer of which tells that it begins."""

    def __init__(self, objects, begins):
        self.objects, self.begins = objects, begins

    def __getattr__(self, name):
        return getattr(self.objects, name)

    def upload(self, key, path):
        self.begins(key)
        return self.objects.upload(key, path)


@pytest.mark.parametrize("where", ["bench", "remote"])
@pytest.mark.parametrize("how", ["cancel", "end"])
def test_what_is_not_wanted_any_more_is_not_delivered(request, where, how):
    bench = request.getfixturevalue(where)
    worker, began = bench.worker(lease=1, burst=True), []

    def begins(key):
        if not key.endswith(".bin"):
            return
        began.append(key)
        if len(began) == 1:
            runs.cancel(bench.db, "a") if how == "cancel" else worker._interrupts.handle(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while not all(attempt.stopped for attempt in worker._running.attempts()) and time.monotonic() < until:
            time.sleep(0.02)

    bench.store.objects = Counted(bench.store.objects, begins)
    bench.submit("a", "many", files=FILES)
    worker.run()
    assert 0 < len(began) < FILES
    assert bench.get("a")["state"] == ("cancelled" if how == "cancel" else "pending")


def test_a_large_object_is_given_up_between_its_parts(remote, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/big.bin").write_bytes(bytes(20 * PART))
    store, asked = remote.store, []

    def unwanted():
        asked.append(None)
        return len(asked) > 4

    location = store.location("a", "0123456789abcdef")
    with pytest.raises(Exception) as given_up, interrupted_if(unwanted):  # noqa: PT011 - obstore words it in its own way
        store.push(location, tmp_path / "out", ["big.bin"])
    assert len(asked) < 20
    assert not store.contents(location), given_up.value
    pushed = store.push(location, tmp_path / "out", ["big.bin"])
    asked.clear()
    with pytest.raises(Interrupted), interrupted_if(unwanted):
        store.pull(pushed, location, tmp_path / "in")
    assert len(asked) < 20

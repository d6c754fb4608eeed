"""MongoDB dies under a worker: the stage goes on, and its result is delivered when the server is back."""

import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect, PyMongoError

from repro.scheduler import runs
from repro.scheduler.queue import lineage
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.lease_renewer import LeaseRenewer
from repro.worker.slots import Slots
from tests.worker.conftest import Bench
from tests.worker.test_worker import wait_for


@pytest.fixture
def home(tmp_path):
    yield tmp_path / "home"
    embedded.stop(tmp_path / "home")


@pytest.fixture
def own_queue(home):
    """A queue on a server of this test's own, that may be killed."""
    db = connect(Settings.read({"REPRO_HOME": str(home)}))
    yield db
    db.client.close()


def test_a_run_outlives_the_death_of_the_server(own_queue, home, tmp_path, fork_server):
    bench = Bench(own_queue, tmp_path, fork_server)
    started = str(tmp_path / "started")
    bench.submit("slow", "sleeps", started=started, seconds=2)
    bench.submit("next", "noop", source=["slow"])
    pid = embedded.status(home)["pid"]
    said, back = [], threading.Event()

    def kill_and_start_again():
        wait_for(Path(started + ".ready").exists)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: said)
        embedded.ensure(home)
        back.set()

    worker = bench.worker(burst=True, lease=60)
    worker.console.say = lambda text: said.append(text) if "can't be reached" in text else None
    thread = threading.Thread(target=kill_and_start_again)
    thread.start()
    worker.run()
    thread.join()
    assert back.is_set()
    assert [bench.get(n)["state"] for n in ("slow", "next")] == ["done", "done"]
    assert [bench.get(n)["attempts"] for n in ("slow", "next")] == [1, 1]


def test_a_claim_whose_reply_was_lost_is_taken_up_again(bench, monkeypatch):
    bench.submit("one", "write")
    claim = runs.claim
    lost = []

    def lose_the_first_reply(*words):
        run = claim(*words)
        if not lost:
            lost.append(run["lease"]["token"])
            raise AutoReconnect("the reply was lost")
        return run

    monkeypatch.setattr(runs, "claim", lose_the_first_reply)
    worker = bench.worker(burst=True)
    worker._claim_interval = 3600  # in a fleet; its lease would be over by then
    worker.run()
    assert (bench.get("one")["state"], bench.get("one")["attempts"]) == ("done", 1)
    assert bench.get("one")["location"].endswith(lost[0][:8])


def test_a_claim_after_which_the_server_went_away_is_taken_up_again(bench, monkeypatch):
    bench.submit("one", "write")
    real, lost = lineage.sources, []

    def lose_the_first_reply(*words):
        if not lost:
            lost.append(True)
            raise AutoReconnect("the server went away")
        return real(*words)

    monkeypatch.setattr(lineage, "sources", lose_the_first_reply)
    bench.work()
    assert lost
    assert (bench.get("one")["state"], bench.get("one")["attempts"]) == ("done", 1)


def test_a_lease_whose_claim_took_long_is_renewed_at_once(bench):
    bench.submit("one", "write")
    run = runs.claim(bench.db, "w", (0,), 10)
    renewer = LeaseRenewer(bench.db, 3600)
    renewer.start()
    before = run["lease"]["expires_at"]
    try:
        renewer.add(Attempt(run, Slots([], 1, 1).take(0), {}, asked_at=time.monotonic() - 1300))
        wait_for(lambda: bench.get("one")["lease"]["expires_at"] > before + timedelta(seconds=3000))
    finally:
        renewer.stop()
    renewer.join(60)
    assert not renewer.is_alive()


def test_a_renewal_gives_up_on_a_server_that_is_stopped(own_queue, home):
    """The next one may reach another member; one that waited would cost the lease."""
    runs.submit(own_queue, [runs.document("run", {"stage": "train"}, "run", [], [])])
    token = runs.claim(own_queue, "w", (0,), 3)["lease"]["token"]
    pid = embedded.status(home)["pid"]
    os.kill(pid, signal.SIGSTOP)
    woken = threading.Timer(30, os.kill, (pid, signal.SIGCONT))
    woken.start()
    try:
        with pytest.raises(PyMongoError):
            runs.renew(own_queue, "run", token, 3)
        assert not woken.finished.is_set()
    finally:
        woken.cancel()
        os.kill(pid, signal.SIGCONT)

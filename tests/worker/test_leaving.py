"""When a worker leaves by itself or is asked to, and the limits of a run."""

import threading
import time
from pathlib import Path

import pytest

from repro.scheduler.queue import workers
from repro.stages.errors import ReproError
from tests.worker.test_worker import an_hour_passes, assert_all_gone, wait_for


def test_a_worker_says_that_it_is_alive_until_it_leaves(bench):
    bench.submit("a", "noop")
    worker = bench.worker(max_runs=1)
    listed = []
    settle = worker._running.settle_ended
    worker._running.settle_ended = lambda: (listed.extend(bench.db.workers.find()), settle())
    worker.run()
    assert (listed[0]["_id"], listed[0]["cpus"], listed[0]["cards"]) == (worker.name, 1, [])
    assert bench.db.workers.count_documents({}) == 0


def test_drain_finishes_what_runs_and_claims_no_more(bench, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("short", "sleeps", started=started, seconds=1)
    bench.submit("next", "noop")
    worker = bench.worker(lease=0.6)

    def drain():
        wait_for(Path(started + ".ready").exists)
        workers.drain(bench.db, [worker.name])

    thread = threading.Thread(target=drain)
    thread.start()
    worker.run()
    thread.join()
    assert (bench.get("short")["state"], bench.get("next")["state"]) == ("done", "pending")


def test_a_worker_that_is_not_there_cannot_be_drained(bench):
    with pytest.raises(ReproError, match="no such worker: nobody; there are: none"):
        workers.drain(bench.db, ["nobody"])


def test_a_worker_leaves_after_its_idle_time_but_not_while_it_works(bench, tmp_path):
    bench.submit("a", "sleeps", started=str(tmp_path / "started"), seconds=1)
    began = time.monotonic()
    bench.work(burst=False, max_idle=0.3)
    assert time.monotonic() - began > 1.3
    assert bench.get("a")["state"] == "done"


def test_a_stage_without_progress_is_stopped(bench, tmp_path, monkeypatch):
    started = str(tmp_path / "started")
    an_hour_passes(monkeypatch, f"{started}.ready")
    run = bench.run("stuck", "sleeps", started=started, options={"stall_limit": 1800})
    assert (run["state"], run["error"]["type"]) == ("failed", "StallLimit")
    assert_all_gone(started)


def test_the_last_lines_of_the_log_come_with_the_heartbeat_and_go_with_the_end(bench, tmp_path):
    bench.submit("talks", "paces", enough=str(tmp_path / "enough"), text="so far so good")
    tails = []

    def look():
        tails.append(wait_for(lambda: bench.get("talks").get("log_tail")))
        (tmp_path / "enough").touch()

    thread = threading.Thread(target=look)
    thread.start()
    bench.work(lease=0.6)
    thread.join()
    assert tails == [["so far so good"]]
    assert "log_tail" not in bench.get("talks")
    assert bench.get("talks")["state"] == "done"

"""A worker outlives what a stage says and does, who looks on, and what the server refuses."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from pymongo.errors import OperationFailure, WriteError

from repro.scheduler import runs
from repro.scheduler.queue import lineage
from repro.scheduler.server.connection import is_later
from repro.worker.live.console import LastingConsole, LineConsole
from repro.worker.loop import WorkerBroken
from tests.worker.test_worker import wait_for


@contextmanager
def meanwhile(action):
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_lease_is_renewed_though_its_news_can_not_be_told(bench):
    bench.submit("a", "sleeps", seconds=600, started=str(bench.folder / "started"))
    worker, renewed = bench.worker(burst=True, lease=1.0), []

    def watch():
        wait_for((bench.folder / "started.ready").exists)
        (attempt,) = worker._lease_renewer.attempts()
        attempt.progress = {"step": 2**70, "total": 2**70, "metrics": {}}  # BSON holds 64 bits
        before = bench.get("a")["lease"]["expires_at"]
        renewed.append(wait_for(lambda: bench.get("a")["lease"]["expires_at"] > before))
        worker._interrupts.handle(signal.SIGTERM)

    with meanwhile(watch):
        worker.run()
    assert renewed
    assert (bench.get("a")["state"], bench.get("a")["attempts"]) == ("pending", 0)


def test_a_worker_whose_thread_has_died_hands_back_and_leaves(bench, monkeypatch):
    bench.submit("a", "sleeps", seconds=600, started=str(bench.folder / "started"))
    worker = bench.worker(lease=1.0)

    def kill_the_thread():
        wait_for((bench.folder / "started.ready").exists)
        monkeypatch.setattr(worker._lease_renewer, "_renew", None)  # no function: the thread dies of it
        monkeypatch.setattr(worker._lease_renewer, "lease", 0.1)

    with meanwhile(kill_the_thread), pytest.raises(WorkerBroken, match="thread lease died"):
        worker.run()
    assert (bench.get("a")["state"], bench.get("a")["attempts"]) == ("pending", 0)


def test_what_no_document_can_hold_fails_the_run_once(bench, monkeypatch):
    real = runs.complete

    def too_big(db, name, token, location, result):
        return real(db, name, token, location, result | {"metrics": {"a": "x" * 17_000_000}})

    monkeypatch.setattr(runs, "complete", too_big)
    run = bench.run("a", "write")
    assert (run["state"], run["attempts"], run["error"]["type"]) == ("failed", 1, "DocumentTooLarge")
    assert "can't be kept in its document" in run["error"]["message"]


@pytest.mark.parametrize(
    ("error", "later"),
    [(WriteError("x", 17280), False), (OperationFailure("x", 2), False), (OperationFailure("x", 17419), False),
     (OperationFailure("x", 10107), True), (OperationFailure("x", 50), True), (OperationFailure("x", 13), True)],
)  # fmt: skip
def test_only_what_may_go_well_later_is_tried_again(error, later):
    assert is_later(error) is later


def test_nobody_need_look_on():
    read, write = os.pipe()
    os.close(read)
    console = LastingConsole(LineConsole())
    before = sys.stderr
    try:
        sys.stderr = os.fdopen(write, "w", buffering=1)
        console.say("to nobody")
        with suppress(BrokenPipeError):
            sys.stderr.close()
        sys.stderr = None
        console.say("to nothing")
    finally:
        sys.stderr = before


def command(bench, *words, **more):
    environment = os.environ | {"REPRO_MONGO_URL": bench.url, "REPRO_STORE": bench.store.url}
    environment |= {"REPRO_HOME": str(bench.folder / "home")}
    return [sys.executable, "-m", "repro", *words], {"env": environment, "cwd": bench.folder} | more


@pytest.fixture
def url(bench, mongo_server):
    place, _, options = mongo_server.partition("?")
    bench.url = f"{place.rpartition('/')[0]}/{bench.db.name}?{options}"
    return bench.url


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "2>/dev/full", "2>&1 | true"])
def test_a_worker_works_without_anybody_to_tell(bench, url, closed):
    bench.submit("a", "write")
    words, more = command(bench, "worker", "--burst", "--gpus", "none")
    subprocess.run(["bash", "-c", f'"$@" {closed}; true', "-", *words], check=True, timeout=300, **more)
    wait_for(lambda: bench.get("a")["state"] == "done")


def test_a_closed_terminal_hands_back_as_sigterm_does(bench, url):
    bench.submit("a", "sleeps", seconds=600, started=str(bench.folder / "started"))
    main, terminal = pty.openpty()
    words, more = command(bench, "worker", "--gpus", "none", stdin=terminal, stdout=terminal, stderr=terminal)
    worker = subprocess.Popen(words, start_new_session=True, **more)
    os.close(terminal)
    try:
        wait_for((bench.folder / "started.ready").exists)
        os.close(main)
        worker.send_signal(signal.SIGHUP)
        worker.wait(timeout=120)
    finally:
        worker.kill()
    assert (bench.get("a")["state"], bench.get("a")["attempts"]) == ("pending", 0)


def test_time_limits_count_the_stages_time_alone(bench, monkeypatch):
    """Neither the interpreter's start nor the pull of inputs is the run's."""
    bench.run("source", "write")
    pull = bench.store.pull

    def slowly(*arguments):
        time.sleep(1.5)
        pull(*arguments)

    monkeypatch.setattr(bench.store, "pull", slowly)
    run = bench.run("child", "write", source=["source"], options={"time_limit": 1.2})
    assert run["state"] == "done", run["error"]


def test_a_ladder_and_a_long_chain_of_sources_are_walked_once(bench):
    """24 rungs have 2**24 ways up; a chain of 1,000 is deeper than Python's stack."""
    for level in range(24):
        for side in "ab":
            sources = [f"{other}{level - 1}" for other in "ab"] if level else []
            bench.submit(f"{side}{level}", "write", source=sources, text=side)
    bench.submit("dead", "raises")
    bench.db.runs.update_one({"_id": "dead"}, {"$set": {"state": "failed"}})
    for number in range(1000):
        bench.submit(f"c{number}", "write", source=[f"c{number - 1}" if number else "dead"])
    assert lineage.blocked(bench.db, ["a23", "c999", "c0"]) == {"c999": "blocked", "c0": "blocked"}
    bench.db.runs.update_one({"_id": "b0"}, {"$set": {"state": "cancelled"}})
    assert lineage.blocked(bench.db, ["a23"]) == {"a23": "blocked"}

"""An idle worker is woken by what is submitted, and does without where there are no change streams."""

import math
import threading
import time

import pytest
from pymongo.errors import OperationFailure

from repro.scheduler import runs
from repro.scheduler.queue import claims
from repro.worker import loop
from repro.worker.polling import PollingRates
from repro.worker.wakeup import Bell, Waker
from tests.worker.test_worker import wait_for


@pytest.fixture
def bell(bench):
    """The bell of a waker that follows the news."""
    bell = Bell()
    waker = Waker(bench.db, bell, PollingRates())
    waker.start()
    waker.listen(3600)
    assert bell.wait(300)  # the stream is there
    yield bell
    waker.stop()
    waker.join(30)
    assert not waker.is_alive()


def test_news_of_a_submit_and_of_a_release_wake(bench, bell):
    bench.submit("a", "noop")
    assert bell.wait(300)
    token = runs.claim(bench.db, "w", (0,), 30)["lease"]["token"]
    bench.submit("b", "noop", source=["a"])
    runs.complete(bench.db, "a", token, "file:///x", {})
    assert not bell.wait(0.2)
    runs.release_children(bench.db, ["a"])
    assert bell.wait(300)


def test_an_idle_worker_starts_a_new_run_long_before_its_next_poll(bench, monkeypatch):
    monkeypatch.setattr(PollingRates, "claim_interval", lambda rates: 600)
    followed, real = threading.Event(), claims.pending_news

    def news(db, over):
        stream = real(db, over)
        yield next(stream)
        followed.set()
        yield from stream

    monkeypatch.setattr(claims, "pending_news", news)
    worker = bench.worker(max_runs=1)
    thread = threading.Thread(target=lambda: followed.wait(300) and bench.submit("a", "noop"))
    thread.start()
    worker.run()  # the test's own limit is long before the poll
    thread.join()
    assert bench.get("a")["state"] == "done"


def test_a_worker_that_gets_no_news_polls(bench, monkeypatch):
    def no_streams(db, over):
        raise OperationFailure("The $changeStream stage is only supported on replica sets", 40573)

    monkeypatch.setattr(claims, "pending_news", no_streams)
    worker = bench.worker(max_runs=1)
    idle = threading.Event()
    monkeypatch.setattr(worker._waker, "listen", lambda seconds: idle.set())
    thread = threading.Thread(target=lambda: idle.wait(300) and bench.submit("a", "noop"))
    thread.start()
    worker.run()
    thread.join()
    assert bench.get("a")["state"] == "done"


def test_a_stream_that_breaks_is_opened_again(bench, monkeypatch):
    real, opened = claims.pending_news, []

    def broken_once(db, over):
        opened.append(True)
        if len(opened) == 1:
            raise OperationFailure("The $changeStream stage is only supported on replica sets", 40573)
        return real(db, over)

    monkeypatch.setattr(claims, "pending_news", broken_once)
    monkeypatch.setattr("repro.worker.wakeup.RETRY", 0.01)
    bell = Bell()
    waker = Waker(bench.db, bell, PollingRates())
    waker.start()
    waker.listen(3600)
    assert bell.wait(300)
    assert len(opened) == 2
    waker.stop()
    waker.join()


def test_who_wants_no_news_any_more_has_no_stream(bench, monkeypatch):
    ended, real = threading.Event(), claims.pending_news

    def news(db, over):
        yield from real(db, over)
        ended.set()

    monkeypatch.setattr(claims, "pending_news", news)
    waker = Waker(bench.db, Bell(), PollingRates())
    waker.start()
    waker.listen(0.1)
    assert ended.wait(300)
    waker.stop()
    waker.join()


def test_a_worker_with_a_run_and_a_free_place_does_not_claim_at_every_tick(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(PollingRates, "claim_interval", lambda rates: 600)
    real, claims = runs.claim, []

    def counted(*words):
        claims.append(time.monotonic())
        return real(*words)

    monkeypatch.setattr(runs, "claim", counted)
    bench.submit("a", "sleeps", started=str(tmp_path / "started"), seconds=math.ceil(10 * loop.TICK))
    bench.work(cpus=2)
    assert bench.get("a")["state"] == "done"
    assert len(claims) <= 5  # the run, nothing more, the stream is open, the run has ended, nothing is left


def test_a_busy_worker_expires_the_leases_of_the_dead(bench, tmp_path):
    bench.submit("lost", "noop")
    assert runs.claim(bench.db, "dead", (0,), 0.1)
    bench.submit("slow", "paces", enough=str(tmp_path / "enough"))

    def end_when_it_is_back():
        wait_for(lambda: bench.get("lost")["state"] == "pending")
        (tmp_path / "enough").touch()

    thread = threading.Thread(target=end_when_it_is_back)
    thread.start()
    bench.work()
    thread.join()
    lost, slow = bench.get("lost"), bench.get("slow")
    back = next(entry["at"] for entry in lost["history"] if entry.get("why"))
    assert slow["started_at"] < back < slow["finished_at"]
    assert lost["state"] == "done"

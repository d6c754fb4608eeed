"""An idle worker is woken by what is submitted, and does without where there are no change streams."""

import threading
import time

from scheduler import queries, runs
from worker import loop
from worker.wake import Waker


def test_news_of_a_submit_and_of_a_release_wake(bench):
    woken = threading.Event()
    waker = Waker(bench.db, woken)
    waker.start()
    assert not woken.wait(0.2)
    bench.submit("a", "noop")
    assert woken.wait(10)
    token = runs.claim(bench.db, "w", (0,), 30)["lease"]["token"]
    bench.submit("b", "noop", source=["a"])
    woken.clear()
    runs.complete(bench.db, "a", token, "file:///x", {})
    assert not woken.wait(0.2)
    runs.release_children(bench.db, ["a"])
    assert woken.wait(10)
    waker.stop()
    waker.join()


def test_an_idle_worker_starts_a_new_run_long_before_its_next_poll(bench, monkeypatch):
    monkeypatch.setattr(loop, "POLL", 60)
    idle = threading.Event()
    worker = bench.worker(max_runs=1)
    look = worker._step

    def step(threads):
        more = look(threads)
        idle.set()
        return more

    worker._step = step
    taken = []

    def submit():
        assert idle.wait(10)
        time.sleep(0.5)  # the stream is open by then; were it not, the test would only be slower to fail
        began = time.monotonic()
        bench.submit("a", "noop")
        while not (run := bench.get("a"))["attempts"]:
            assert time.monotonic() - began < 30, run["state"]
        taken.append(time.monotonic() - began)

    thread = threading.Thread(target=submit)
    thread.start()
    worker.run()
    thread.join()
    assert taken
    assert bench.get("a")["state"] == "done"


def test_a_stream_that_breaks_is_opened_again(bench, monkeypatch):
    real, opened = queries.pending_news, []

    def broken_once(db, stop):
        opened.append(True)
        if len(opened) == 1:
            from pymongo.errors import OperationFailure

            raise OperationFailure("The $changeStream stage is only supported on replica sets", 40573)
        return real(db, stop)

    monkeypatch.setattr(queries, "pending_news", broken_once)
    monkeypatch.setattr("worker.wake.RETRY", 0.01)
    woken = threading.Event()
    waker = Waker(bench.db, woken)
    waker.start()
    while len(opened) < 2:
        assert waker.is_alive()
    bench.submit("a", "noop")
    deadline = time.monotonic() + 10
    while not woken.wait(0.1):
        assert time.monotonic() < deadline
        bench.submit(f"a{time.monotonic_ns()}", "noop")
    waker.stop()
    waker.join()


def test_a_busy_worker_expires_the_leases_of_the_dead(bench, tmp_path):
    bench.submit("lost", "noop")
    assert runs.claim(bench.db, "dead", (0,), 0.1)
    bench.submit("slow", "sleeps", started=str(tmp_path / "started"), seconds=3)
    bench.work()
    lost, slow = bench.get("lost"), bench.get("slow")
    back = next(entry["at"] for entry in lost["history"] if entry.get("why"))
    assert slow["started_at"] < back < slow["finished_at"]
    assert lost["state"] == "done"

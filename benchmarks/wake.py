"""From the call of a submit to the run's start: by one idle worker, and by one of a hundred.

    python -m benchmarks.wake [--idle 100]

The one is a real worker, started as a user starts it. The hundred are the product's own worker loops, a few processes
full of threads, in which only the execution of a run is left out. What is counted is how often all of them asked for
a run within a tenth of a second of each submit, and how often they ask while nothing happens.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.noop import Quiet
from repro.scheduler import runs
from repro.scheduler.queue.workers import name_here
from repro.scheduler.queue.workers import size as number_of_workers
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import Done, Outcome
from repro.worker.loop import Options, Worker
from repro.worker.slots import Slots
from tests import toy

SUBMITS = 60
PROCESSES = 4
SOON = 0.1  # seconds after a submit within which claims count as its own
HEARTBEAT = 10  # seconds: after two of them every worker knows how many there are


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=int, default=100, help="simulated idle workers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        toy.install(folder / "toy")
        os.environ |= {"PYTHONPATH": str(folder / "toy"), "REPRO_HOME": str(folder / "home")}
        os.environ.pop("REPRO_MONGO_URL", None)
        settings = Settings.read()
        try:
            db = connect(settings)
            runs.create_indexes(db)
            one_real_worker(db)
            many(db, settings, options.idle)
        finally:
            embedded.stop(settings.home)


def one_real_worker(db: Any) -> None:
    command = [sys.executable, "-m", "repro", "worker", "--gpus", "none"]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        submitted = {}
        for number in range(-1, SUBMITS):  # the first waits for the fork server
            submitted[f"one{number}"] = add(db, f"one{number}", "toy_clock")
            while db.runs.count_documents({"state": "done"}) < number + 2:
                time.sleep(0.05)
            time.sleep(0.3)  # it is idle again
    finally:
        worker.terminate()
        worker.wait()
    del submitted["one-1"]
    found = {run["_id"]: run for run in db.runs.find({"_id": {"$in": list(submitted)}})}
    claimed = [found[name]["started_at"].timestamp() - then for name, then in submitted.items()]
    began = [found[name]["metrics"]["began"] - then for name, then in submitted.items()]
    show("one idle worker, submit to claim", claimed)
    show("one idle worker, submit to the stage's first line", began)


def many(db: Any, settings: Settings, idle: int) -> None:
    with simulated(settings, idle) as asked:
        deadline = time.monotonic() + 120
        while number_of_workers(db) < idle:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(2 * HEARTBEAT)
        began, before = time.monotonic(), asked.value
        time.sleep(5)
        polls = (asked.value - before) / (time.monotonic() - began)
        submitted, soon = {}, []
        for number in range(SUBMITS):
            before = asked.value
            submitted[f"many{number}"] = add(db, f"many{number}", "toy_noop")
            time.sleep(SOON)
            soon.append(asked.value - before - polls * SOON)
            time.sleep(0.5)
        at_once(db, asked, idle)
        found = {run["_id"]: run for run in db.runs.find({"_id": {"$in": list(submitted)}})}
        waits = [found[name]["started_at"].timestamp() - then for name, then in submitted.items()]
    show(f"{idle} idle workers, submit to claim", waits)
    print(
        f"{idle} idle workers: {polls:.0f} claims a second while nothing happens; within {SOON:g} s of a submit "
        f"{statistics.median(soon):.0f} more (median), at most {max(soon):.0f}"
    )


def at_once(db: Any, asked: Any, count: int) -> None:
    before, began = asked.value, time.monotonic()
    runs.submit(db, [runs.document(f"once{i}", {"stage": "toy_noop"}, str(i), [], []) for i in range(count)])
    while db.runs.count_documents({"_id": {"$regex": "^once"}, "state": "done"}) < count:
        time.sleep(0.01)
    seconds = time.monotonic() - began
    print(f"{count} runs submitted at once: all done after {seconds * 1e3:.0f} ms, {asked.value - before} claims")


@contextmanager
def simulated(settings: Settings, count: int) -> Any:
    """So many idle workers; yields the number of times that they have asked for a run."""
    context = get_context("spawn")
    asked, leave = context.Value("q"), context.Event()
    share = count // PROCESSES
    words = (settings, share, asked, leave)
    processes = [context.Process(target=simulate, args=words) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    try:
        yield asked
    finally:
        leave.set()
        for process in processes:
            process.join()


def simulate(settings: Settings, count: int, asked: Any, leave: Any) -> None:
    db = connect(settings)
    real = runs.claim

    def counted(*words: Any) -> Any:
        with asked.get_lock():
            asked.value += 1
        return real(*words)

    runs.claim = counted
    workers = [Idle(db, number) for number in range(count)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    leave.wait()
    for worker in workers:
        worker._interrupts.handle(0)
    for thread in threads:
        thread.join()


class NoExecution:
    """Ends every run at once."""

    url = "nowhere"

    def __init__(self) -> None:
        self.store = self.fork_server = self

    def prepare(self) -> None:
        pass

    def execute(self, attempt: Attempt) -> Outcome:
        result = {"outputs": [], "metrics": {}, "params": {}, "environment": {}}
        return Done(f"file:///nowhere/{attempt.name}-{attempt.token[:8]}", result)


class Idle(Worker):
    """The product's worker loop, as one of many in a process: it hears no signals."""

    def __init__(self, db: Any, number: int) -> None:
        name = f"{name_here()}:{number}"
        super().__init__(db, NoExecution(), Slots([], 1), Options(), Quiet(), name=name)

    def _signals(self) -> Any:
        return nullcontext()


def add(db: Any, name: str, stage: str) -> float:
    """Submit one run; returns when that began."""
    began = time.time()
    assert runs.submit(db, [runs.document(name, {"stage": stage}, name, [], [])]) == []
    return began


def show(what: str, seconds: list[float]) -> None:
    """Times of documents are cut to milliseconds, so a claim may seem to be up to one too early."""
    p50, p95 = statistics.median(seconds) * 1e3, statistics.quantiles(seconds, n=20)[-1] * 1e3
    print(f"{what}: median {p50:.1f} ms, p95 {p95:.1f} ms, max {max(seconds) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()

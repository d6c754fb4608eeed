"""What a run costs besides its stage: no-op runs through one warm worker, from claim to done.

    python -m benchmarks.noop

Beside it, in the same run, the bare MongoDB round trips that it makes (claim, complete, release) on the same
server. The difference is what the folder, the process and the record cost.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from scheduler import embedded, runs
from scheduler.mongo import connect
from scheduler.settings import Settings
from stages import registry
from tests import toy
from worker.execute import Executor
from worker.interpreter import Interpreter
from worker.loop import Options, Worker, settle
from worker.report import Lines
from worker.slots import Slots
from worker.storage import Store

RUNS = 300


class Quiet(Lines):
    """Says nothing."""

    def say(self, text: str) -> None:
        pass


def main() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        toy.install(folder / "toy")
        sys.path.insert(0, str(folder / "toy"))
        registry.available.cache_clear()
        settings = Settings.read({"REPRO_HOME": str(folder / "home")})
        try:
            measure(settings, folder)
        finally:
            embedded.stop(settings.home)


def measure(settings: Settings, folder: Path) -> None:
    import os

    os.environ["PYTHONPATH"] = str(folder / "toy")
    db = connect(settings)
    runs.create_indexes(db)
    store = Store.open(settings.store, settings.home)
    store.objects.check()
    add(db, "bare")
    bare = [timed(lambda: bare_round_trips(db)) for _ in range(RUNS)]
    with Interpreter() as interpreter:
        worker = Worker(db, Executor(store, settings.home, "", interpreter), Slots([], 1), Options(), Quiet())
        add(db, "warmup", 5)
        for _ in range(5):
            one_run(worker)
        add(db, "run")
        whole = [timed(lambda: one_run(worker)) for _ in range(RUNS)]
        add(db, "burst")
        began = time.perf_counter()
        Worker(db, worker.executor, Slots([], 1), Options(burst=True), Quiet()).run()
        rate = RUNS / (time.perf_counter() - began)
    assert db.runs.count_documents({"state": "done", "stage": "toy_noop"}) == 3 * RUNS + 5
    a, b = statistics.median(bare) * 1e3, statistics.median(whole) * 1e3
    print(f"bare MongoDB round trips    {a:6.2f} ms a run (median of {RUNS})")
    print(f"a no-op run, claim to done  {b:6.2f} ms a run; {b - a:.2f} ms more (bound: 30 ms)")
    print(f"one worker, the whole loop  {rate:6.1f} runs a second")


def add(db, prefix: str, count: int = RUNS) -> None:
    config = {"stage": "toy_noop"}
    runs.submit(db, [runs.document(f"{prefix}{i}", config, f"{prefix}{i}", [], []) for i in range(count)])


def bare_round_trips(db) -> None:
    run = runs.claim(db, "bare", (0,), 30)
    runs.complete(db, run["_id"], run["lease"]["token"], "file:///nowhere", {"outputs": []})
    runs.release_children(db, [run["_id"]])


def one_run(worker: Worker) -> None:
    attempt = worker._claim()
    settle(worker.db, attempt, worker.executor.execute(attempt))
    worker.slots.give_back(attempt.slot)


def timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

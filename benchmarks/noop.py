"""What a run costs besides its stage: no-op runs, each claimed, in a process of its own, its folder written, done.

    python -m benchmarks.noop [--workers 1 8]

First the time of one run beside the bare MongoDB round trips that it makes (claim, complete, release), in the same
process. Then real workers, started as a user starts them: runs a second, and which processes the time of the
processors goes to.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro.scheduler import runs
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.source import registry
from repro.worker.attempt.executor import Executor
from repro.worker.live.console import LineConsole
from repro.worker.loop import Options, Worker
from repro.worker.process.fork_client import ForkServer
from repro.worker.settlement import settle
from repro.worker.slots import Slots
from repro.worker.store.store import Store
from tests import toy

RUNS = 300
ROUNDS = 3
OWN_QUESTIONS = {"aggregate", "serverStatus", "hello", "ping", "endSessions"}  # of this benchmark and of connections
TICK = os.sysconf("SC_CLK_TCK")


class Quiet(LineConsole):
    """Says nothing."""

    def say(self, text: str) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8], help="how many, one measurement each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        toy.install(folder / "toy")
        sys.path.insert(0, str(folder / "toy"))
        registry.available.cache_clear()
        os.environ |= {"PYTHONPATH": str(folder / "toy"), "REPRO_HOME": str(folder / "home")}
        os.environ.pop("REPRO_MONGO_URL", None)
        settings = Settings.read()
        try:
            db = connect(settings)
            measure_one(db, settings)
            for count in options.workers:
                with started(db, count) as workers:
                    for number in range(ROUNDS):
                        measure_many(db, workers, f"w{count}-{number}-")
        finally:
            embedded.stop(settings.home)


def measure_one(db: Any, settings: Settings) -> None:
    runs.create_indexes(db)
    store = Store.open(settings.store, settings.home)
    store.objects.check()
    add(db, "bare", RUNS)
    bare = [timed(lambda: bare_round_trips(db)) for _ in range(RUNS)]
    with ForkServer() as fork_server:
        executor = Executor(store, settings.home, "", fork_server)
        worker = Worker(db, executor, Slots([], 1), Options(), Quiet())
        add(db, "warmup", 5)
        for _ in range(5):
            one_run(worker)
        add(db, "run", RUNS)
        whole = [timed(lambda: one_run(worker)) for _ in range(RUNS)]
    assert db.runs.count_documents({"state": "done", "stage": "toy_noop"}) == 2 * RUNS + 5
    a, b = statistics.median(bare) * 1e3, statistics.median(whole) * 1e3
    print(f"bare MongoDB round trips    {a:6.2f} ms a run (median of {RUNS})")
    print(f"a no-op run, claim to done  {b:6.2f} ms a run; {b - a:.2f} ms more (bound: 30 ms)")


@contextmanager
def started(db: Any, count: int) -> Iterator[list[int]]:
    """So many workers, each of which has done a run, so that its fork server is ready; their process ids."""
    command = [sys.executable, "-m", "repro", "worker", "--gpus", "none"]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        done, number = {"_id": {"$regex": f"^warm{count}-"}, "state": "done"}, 0
        while len(db.runs.distinct("history.by", done) or []) < count:
            add(db, f"warm{count}-{number}-", count)
            number += 1
            wait_for(db, f"warm{count}-", number * count)
        yield [worker.pid for worker in workers]
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def measure_many(db: Any, workers: list[int], prefix: str) -> None:
    count = RUNS * min(4, len(workers))
    before, asked, began = processor_time(db, workers), commands(db), time.perf_counter()
    add(db, prefix, count)
    wait_for(db, prefix, count)
    seconds = time.perf_counter() - began
    used = {kind: (ms - before[kind]) / count for kind, ms in processor_time(db, workers).items()}
    print(
        f"{len(workers)} workers: {count / seconds:6.1f} runs a second; processor time a run: "
        + ", ".join(f"{kind} {ms:.1f}" for kind, ms in used.items())
        + f", together {sum(used.values()):.1f} ms; {(commands(db) - asked).total() / count:.1f} MongoDB commands a run"
    )


def wait_for(db: Any, prefix: str, count: int) -> None:
    while db.runs.count_documents({"_id": {"$regex": f"^{prefix}"}, "state": "done"}) < count:
        time.sleep(0.05)


def processor_time(db: Any, workers: list[int]) -> dict[str, float]:
    """Milliseconds so far, by kind of process."""
    found = {"worker": 0.0, "interpreter": 0.0, "stages": 0.0}
    for worker in workers:
        found["worker"] += spent(worker)[0]
        for thread in Path(f"/proc/{worker}/task").iterdir():
            for child in (thread / "children").read_text().split():
                own, children = spent(int(child))
                found["interpreter"] += own
                found["stages"] += children
    return found | {"mongod": spent(db.client.admin.command("serverStatus")["pid"])[0]}


def spent(process: int) -> tuple[float, float]:
    """Milliseconds of processor time of a process, and of those of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system, users, systems = (int(field) * 1000 / TICK for field in fields[11:15])
    return user + system, users + systems


def commands(db: Any) -> Counter[str]:
    counts = db.client.admin.command("serverStatus")["metrics"]["commands"]
    totals = {name: count["total"] for name, count in counts.items() if isinstance(count, dict)}
    return Counter({name: total for name, total in totals.items() if name not in OWN_QUESTIONS})


def add(db: Any, prefix: str, count: int) -> None:
    config = {"stage": "toy_noop"}
    runs.submit(db, [runs.document(f"{prefix}{i}", config, f"{prefix}{i}", [], []) for i in range(count)])


def bare_round_trips(db: Any) -> None:
    run = runs.claim(db, "bare", (0,), 30)
    runs.complete(db, run["_id"], run["lease"]["token"], "file:///nowhere", {"outputs": []})
    runs.release_children(db, [run["_id"]])


def one_run(worker: Worker) -> None:
    attempt = worker._claimer.claim()
    settle(worker.db, attempt, worker.executor.execute(attempt))
    worker.slots.give_back(attempt.slot)


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

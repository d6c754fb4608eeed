"""What a fleet of workers asks of one mongod: heartbeats, renewals, logs, polls, looks for the dead, change streams.

    python -m benchmarks.fleet [--workers 500 1000 2000 5000]

Every worker is simulated by the product's own calls, each made when a worker's polling rates say so; half of the
workers hold a run that prints and is renewed, half are idle. Shown are the calls made and asked for, how long they
took, and the processor time of mongod and of the simulation. All share one machine: where calls come late, it has
reached its limit.
"""

import argparse
import heapq
import random
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from benchmarks.noop import spent
from repro.scheduler import runs
from repro.scheduler.live import log_pieces, points
from repro.scheduler.queue import claims, lineage
from repro.scheduler.queue.workers import announce, size
from repro.scheduler.queue.workers import create_indexes as create_worker_indexes
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.worker.polling import LISTENERS, PollingRates

LEASE = 30.0  # seconds, as by default
SETTLE, MEASURE = 15.0, 40.0  # seconds: several heartbeats of each
THREADS = 24
SUBMITS = 20  # while it is measured, one after the other: how long until an idle worker has each
CONNECTIONS = 400  # opened at once, to weigh one

Calls = dict[str, list[tuple[float, float]]]  # kind -> seconds late, seconds taken


class Simulated:
    """One worker: what it calls, and when it calls again. It holds a run, or waits for one."""

    def __init__(self, db: Any, number: int, workers: int) -> None:
        self.db, self.name, self.rates = db, f"host{number // 8}:{number}", PollingRates()
        self.rates.workers, self.offset = workers, 0
        self.run: Any = runs.claim(db, self.name, (0,), LEASE) if number % 2 else None

    def duties(self) -> dict[str, tuple[Callable[[], object], Callable[[], float]]]:
        """Kind -> the call and the seconds until the next one."""
        third = LEASE / 3
        found: dict[str, tuple[Callable[[], object], Callable[[], float]]] = {
            "heartbeat": (self.heartbeat, lambda: third),
            "heal": (self.heal, self.rates.healing_interval),
        }
        if self.run is None:
            return found | {"poll": (self.poll, self.rates.claim_interval)}
        return found | {"renew": (self.renew, lambda: third), "tell": (self.tell, self.rates.report_interval)}

    def heartbeat(self) -> None:
        announce(self.db, self.name, ["GPU-0"], 1, LEASE)
        size(self.db)

    def heal(self) -> None:
        runs.shorten_waits(self.db, LEASE)
        runs.expire(self.db)
        runs.release_children(self.db, lineage.ready_sources(self.db))

    def poll(self) -> None:
        if found := runs.claim(self.db, self.name, (0,), LEASE):
            token = found["lease"]["token"]
            runs.complete(self.db, found["_id"], token, f"file:///{token}", {"outputs": []})

    def renew(self) -> None:
        progress = {"step": self.offset, "total": 10**9, "metrics": {"loss": random.random()}}
        news = {"progress": progress, "log_tail": ["a line of a log"] * 20}
        assert runs.renew(self.db, self.run["_id"], self.run["lease"]["token"], LEASE, news)

    def tell(self) -> None:
        token, self.offset = self.run["lease"]["token"], self.offset + 500
        log_pieces.append(self.db, token, log_pieces.Piece(self.offset, b"a line of a log\n" * 30))
        points.append(self.db, token, points.Point(self.offset, 10**9, {"loss": random.random()}))


class Fleet(threading.Thread):
    """Makes every worker's calls when they are due, from a few threads."""

    def __init__(self, workers: list[Simulated]) -> None:
        super().__init__(daemon=True)
        self.calls: Calls = defaultdict(list)
        self._ending = threading.Event()
        self._order = count()
        self._due: list[tuple[float, int, str, Any]] = []
        for worker in workers:
            for kind, (call, again) in worker.duties().items():
                first = time.monotonic() + random.random() * again()
                heapq.heappush(self._due, (first, next(self._order), kind, (call, again)))

    def run(self) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            while not self._ending.is_set():
                due, _, kind, duty = heapq.heappop(self._due)
                time.sleep(max(0.0, due - time.monotonic()))
                heapq.heappush(self._due, (due + duty[1](), next(self._order), kind, duty))
                threads.submit(self._make, due, kind, duty[0])

    def _make(self, due: float, kind: str, call: Callable[[], object]) -> None:
        if self._ending.is_set():
            return
        began = time.monotonic()
        call()
        self.calls[kind].append((began - due, time.monotonic() - began))

    def stop(self) -> None:
        self._ending.set()
        self.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[500, 1000, 2000, 5000])
    for workers in parser.parse_args().workers:
        with tempfile.TemporaryDirectory() as text:
            settings = Settings.read({"REPRO_HOME": str(Path(text) / "home")})
            db = connect(settings)
            try:
                measure(db, workers)
            finally:
                db.client.close()
                embedded.stop(settings.home)


def measure(db: Any, workers: int) -> None:
    for create in (runs.create_indexes, log_pieces.create_indexes, points.create_indexes, create_worker_indexes):
        create(db)
    held = [f"held{number}" for number in range(workers // 2)]
    runs.submit(db, [runs.document(name, {"stage": "train"}, name, [], []) for name in held])
    simulated = Fleet([Simulated(db, number, workers) for number in range(workers)])
    simulated.start()
    with listening(db) as heard:
        time.sleep(SETTLE)
        simulated.calls.clear()
        server, own, began = mongod_ms(db), time.process_time(), time.monotonic()
        delays = [submit_and_wait(db, number, heard) for number in range(SUBMITS)]
        time.sleep(max(0.0, began + MEASURE - time.monotonic()))
        seconds = time.monotonic() - began
        server, own = (mongod_ms(db) - server) / seconds / 10, (time.process_time() - own) / seconds * 100
        calls = dict(simulated.calls)
    simulated.stop()
    total = sum(len(made) for made in calls.values())
    print(
        f"{workers} workers: {total / seconds:.0f} rounds a second; mongod {server:.0f} % of a core, "
        f"simulation {own:.0f} %; news of a submit after {statistics.median(delays) * 1e3:.0f} ms (median), "
        f"{max(delays) * 1e3:.0f} ms (most); a connection takes {connection_kb(db):.0f} kB of mongod"
    )
    for kind, made in sorted(calls.items()):
        late, took = ([times[which] for times in made] for which in (0, 1))
        print(
            f"  {kind:9} {len(made) / seconds:6.1f}/s, took {statistics.median(took) * 1e3:5.1f} ms (median), "
            f"{quantile(took) * 1e3:6.1f} ms (p99); late by {quantile(late) * 1e3:6.1f} ms (p99)"
        )


@contextmanager
def listening(db: Any) -> Iterator[list[float]]:
    """As many change streams as a fleet has; when each of them heard some news."""
    heard: list[float] = []
    over = threading.Event()

    def follow() -> None:
        for _ in claims.pending_news(db, over.is_set):
            heard.append(time.monotonic())

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(LISTENERS)]
    for thread in threads:
        thread.start()
    yield heard
    over.set()


def submit_and_wait(db: Any, number: int, heard: list[float]) -> float:
    """Seconds until the first of the listeners has heard of a run."""
    before, began = len(heard), time.monotonic()
    runs.submit(db, [runs.document(f"fresh{number}", {"stage": "train"}, f"fresh{number}", [], [])])
    while len(heard) == before and time.monotonic() < began + 10:
        time.sleep(0.001)
    found = time.monotonic() - began
    time.sleep(1)
    return found


def mongod_ms(db: Any) -> float:
    return spent(db.client.admin.command("serverStatus")["pid"])[0]


def connection_kb(db: Any) -> float:
    """What mongod's memory grows by for one more connection that has asked something."""
    pid = db.client.admin.command("serverStatus")["pid"]
    before = resident_kb(pid)
    clients = [MongoClient(*db.client.address, directConnection=True) for _ in range(CONNECTIONS)]
    for client in clients:
        client.admin.command("ping")
    grown = resident_kb(pid) - before
    opened = 3 * CONNECTIONS  # the pool's, and two that watch the server
    for client in clients:
        client.close()
    return grown / opened


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def quantile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    main()

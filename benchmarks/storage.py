"""Pushing to and pulling from S3, beside the usual clients, on the same real server (Ceph) in the same run.

    python -m benchmarks.storage [--rounds 2]

Each contender pushes and pulls one object of 1 GiB and 2,000 of 20 kB; rounds interleave, the best of them counts. Ours
does more than the others in that time: it computes every SHA-256, creates exclusively, and checks what it pulls.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median

from repro.scheduler import runs
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import Queue, connect
from repro.scheduler.settings import Settings
from repro.worker.attempt.executor import Executor
from repro.worker.live.console import LineConsole
from repro.worker.loop import Options, Worker
from repro.worker.process.fork_client import ForkServer
from repro.worker.slots import Slots
from repro.worker.store.store import Store
from tests import toy
from tests.s3 import Server, start_ceph

LARGE, SMALL, COUNT = 1 << 30, 20_000, 2_000
RUNS = 8  # one after the other, for the gaps between them
MB = 1e6


class Ours:
    """What a worker does."""

    def __init__(self, server: Server, bucket: str, folder: Path) -> None:
        self.store = Store.open(f"s3://{bucket}/ours", folder / "home", cache_bytes=10 * LARGE)
        self.home, self.attempts = folder / "home", 0

    def push(self, folder: Path, names: list[str]) -> None:
        self.attempts += 1
        self.location = self.store.location("run", f"{self.attempts:08x}")
        self.outputs = self.store.push(self.location, folder, names)

    def pull(self, folder: Path, names: list[str]) -> None:
        self.store.pull(self.outputs, self.location, folder / "in")

    def forget(self) -> None:
        shutil.rmtree(self.home / "cache", ignore_errors=True)


class Boto3:
    """Its transfer manager, many files at once."""

    def __init__(self, server: Server, bucket: str, folder: Path) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        self.client = boto3.client("s3", config=Config(max_pool_connections=64))
        self.bucket, self.config = bucket, TransferConfig(max_concurrency=16)

    def push(self, folder: Path, names: list[str]) -> None:
        self._each(names, lambda n: self.client.upload_file(folder / n, self.bucket, f"boto3/{n}", Config=self.config))

    def pull(self, folder: Path, names: list[str]) -> None:
        self._each(
            names, lambda n: self.client.download_file(self.bucket, f"boto3/{n}", folder / n, Config=self.config)
        )

    def _each(self, names: list[str], work: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(64) as threads:
            list(threads.map(work, names))


class S3fs:
    def __init__(self, server: Server, bucket: str, folder: Path) -> None:
        import s3fs

        self.fs, self.bucket = s3fs.S3FileSystem(skip_instance_cache=True), bucket

    def push(self, folder: Path, names: list[str]) -> None:
        self.fs.put([str(folder / n) for n in names], [f"{self.bucket}/s3fs/{n}" for n in names])

    def pull(self, folder: Path, names: list[str]) -> None:
        self.fs.get([f"{self.bucket}/s3fs/{n}" for n in names], [str(folder / n) for n in names])


class Obstore:
    """With concurrent ranges for what is large, and 64 threads for what is small."""

    def __init__(self, server: Server, bucket: str, folder: Path) -> None:
        from obstore.store import S3Store

        self.store = S3Store(bucket, endpoint=server.endpoint, client_options={"allow_http": True})

    def push(self, folder: Path, names: list[str]) -> None:
        import obstore

        def put(name: str) -> None:
            obstore.put(self.store, f"obstore/{name}", folder / name, chunk_size=8 << 20, max_concurrency=8)

        with ThreadPoolExecutor(64) as threads:
            list(threads.map(put, names))

    def pull(self, folder: Path, names: list[str]) -> None:
        with ThreadPoolExecutor(64) as threads:
            list(threads.map(lambda name: self._get(folder, name), names))

    def _get(self, folder: Path, name: str) -> None:
        import obstore

        size, part = obstore.head(self.store, f"obstore/{name}")["size"] if name == "large" else SMALL, 8 << 20
        if size <= part:
            (folder / name).write_bytes(obstore.get(self.store, f"obstore/{name}").bytes())
            return
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT)

        def fetch(start: int) -> None:
            length = min(part, size - start)
            os.pwrite(handle, obstore.get_range(self.store, f"obstore/{name}", start=start, length=length), start)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(fetch, range(0, size, part)))
        os.close(handle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        os.environ["S3_BYTES"] = str(14 << 30)
        server, stop = start_ceph(folder / "ceph")
        os.environ.update(server.environment)
        try:
            measure(server, folder, rounds)
        finally:
            stop()


def measure(server: Server, folder: Path, rounds: int) -> None:
    sets = write(folder / "data")
    bucket = server.bucket()
    contenders = [kind(server, bucket, folder) for kind in (Ours, Boto3, S3fs, Obstore)]
    best: dict[tuple[str, str], float] = {}
    for what, names in sets.items():
        for _ in range(rounds):
            for contender in contenders:
                note(best, f"push {what}", contender, lambda c=contender, n=names: c.push(folder / "data", n))
        for _ in range(rounds + 1):
            for contender in contenders:
                if isinstance(contender, Ours):
                    contender.forget()
                with tempfile.TemporaryDirectory(dir=folder) as text:
                    note(best, f"pull {what}", contender, lambda c=contender, n=names, t=Path(text): c.pull(t, n))
        if isinstance(ours := contenders[0], Ours):
            warm(ours, what, folder)
    report(best)
    gaps(bucket, folder)


def warm(ours: Ours, what: str, folder: Path) -> None:
    """The same inputs again: nothing is fetched."""
    seconds = []
    for number in range(5):
        began = time.perf_counter()
        ours.store.pull(ours.outputs, ours.location, folder / f"warm{number}")
        seconds.append(time.perf_counter() - began)
        shutil.rmtree(folder / f"warm{number}")
    print(
        f"warm cache, {what}: ready in {min(seconds) * 1e3:.1f} ms (best), {sorted(seconds)[2] * 1e3:.1f} ms (median)"
    )


def gaps(bucket: str, folder: Path) -> None:
    """From the end of one stage to the start of the next on the same slot, whose input of 64 MB is prefetched."""
    toy.install(folder / "toy")
    (folder / "stamps").mkdir()
    sys.path.insert(0, str(folder / "toy"))
    os.environ["PYTHONPATH"] = str(folder / "toy")
    settings = Settings.read({"REPRO_HOME": str(folder / "queue"), "REPRO_STORE": f"s3://{bucket}/runs"})
    db = connect(settings)
    try:
        store = Store.open(settings.store, settings.home)
        runs.create_indexes(db)
        for number in range(RUNS):
            add_done_source(db, store, folder, f"source{number}")
            config = {"stage": "toy_stamps", "source": f"source{number}", "stamps": str(folder / "stamps")}
            name = f"run{number}"
            runs.submit(db, [runs.document(name, config, name, [config["source"]], [])])
        with ForkServer() as fork_server:
            executor = Executor(store, settings.home, "", fork_server)
            Worker(db, executor, Slots([], 1), Options(burst=True), LineConsole()).run()
    finally:
        db.client.close()
        embedded.stop(settings.home)
    stamped = [json.loads((folder / "stamps" / f"run{number}").read_text()) for number in range(RUNS)]
    between = sorted((after[0] - before[1]) / 1e6 for before, after in pairwise(stamped))
    print(
        f"gap between runs, input of 64 MB prefetched: {median(between):.0f} ms (median), {between[-1]:.0f} ms (most)"
    )


def add_done_source(db: Queue, store: Store, folder: Path, name: str) -> None:
    """A done run with one object of 64 MB in the store."""
    location, out = store.location(name, "0" * 8), folder / name
    out.mkdir()
    (out / "large.bin").write_bytes(os.urandom(64 << 20))
    outputs = store.push(location, out, ["large.bin"])
    document = runs.document(name, {"stage": "toy_stamps"}, name, [], [], location=location, outputs=outputs)
    runs.restore(db, [document])


def note(best: dict[tuple[str, str], float], what: str, contender: object, work: Callable[[], None]) -> None:
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    key = (what, type(contender).__name__)
    best[key] = min(seconds, best.get(key, seconds))


def report(best: dict[tuple[str, str], float]) -> None:
    for what in dict.fromkeys(what for what, _ in best):
        seconds = {who: s for (w, who), s in best.items() if w == what}
        fastest = min(s for who, s in seconds.items() if who != "Ours")
        figures = ", ".join(f"{who.lower()} {rate(what, s)}" for who, s in seconds.items())
        print(f"{what}: {figures}; ours over the fastest other: {fastest / seconds['Ours']:.2f}")


def rate(what: str, seconds: float) -> str:
    return f"{LARGE / MB / seconds:.0f} MB/s" if "GiB" in what else f"{COUNT / seconds:.0f}/s"


def write(folder: Path) -> dict[str, list[str]]:
    folder.mkdir()
    block = os.urandom(16 << 20)
    with (folder / "large").open("wb") as file:
        for _ in range(LARGE // len(block)):
            file.write(block)
    names = [f"small{number:05}" for number in range(COUNT)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(block[number * 100 : number * 100 + SMALL])
    return {"1 GiB": ["large"], "2,000 x 20 kB": names}


if __name__ == "__main__":
    main()

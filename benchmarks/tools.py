"""How long the tools take over many configs, from the command's start to its end.

python -m benchmarks.tools
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from repro.scheduler import runs
from repro.scheduler.lists import listing
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import Queue, connect
from repro.scheduler.settings import Settings

CONFIGS = 1000
HISTORY = 1_000_000


def main() -> None:
    many_configs()
    long_history()


def many_configs() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder, draw = Path(text), random.Random(0)
        files = [str(write(folder, number, draw)) for number in range(CONFIGS)]
        for words in (["diff"], ["diff", "--json"], ["diff", "--lineage"]):
            seconds = sorted(call([*words, *files]) for _ in range(5))
            print(f"repro {' '.join(words):15} {CONFIGS} files: {seconds[2]:.2f} s (bound: 2 s)")


def long_history() -> None:
    """`repro status` over a million finished runs, a thousand pending and eight running ones, beside a bare start."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"REPRO_HOME": home}
        os.environ.pop("REPRO_MONGO_URL", None)
        try:
            db = connect(Settings.read())
            show_status("nothing")
            asked("nothing", db)
            fill(db)
            show_status(f"{HISTORY} finished")
            asked(f"{HISTORY} finished", db)
        finally:
            embedded.stop(Path(home))


def fill(db: Queue) -> None:
    runs.create_indexes(db)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for first in range(0, HISTORY, 10_000):
        documents = [
            runs.document(f"run{n}", {"stage": "train", "lr": 0.1}, f"f{n}", [], [])
            | {"state": "failed" if n % 50 == 0 else "done", "submitted_at": began, "location": f"file:///s/run{n}"}
            | {"finished_at": began + timedelta(seconds=n), "metrics": {"accuracy": 0.5}, "outputs": []}
            for n in range(first, first + 10_000)
        ]
        db.runs.insert_many(documents, ordered=False)
    runs.submit(db, [runs.document(f"next{n}", {"stage": "train"}, f"n{n}", [], []) for n in range(1008)])
    for _ in range(8):
        runs.claim(db, "box:1", [0], 3600)


def show_status(behind: str) -> None:
    for words in (["status"], ["status", "--json"], ["status", "--state", "failed"], ["status", "run99999*"]):
        seconds = [(call(words), bare()) for _ in range(7)]  # alternating: a noisy moment meets both
        own = statistics.median(took for took, _ in seconds) - statistics.median(start for _, start in seconds)
        print(f"repro {' '.join(words):22} behind {behind}: {own:.2f} s of its own (bound: 0.3 s)")


def asked(behind: str, db: Queue) -> None:
    """What of that the queue's answers take."""
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        listing.why_waiting(db, listing.newest(db))
        listing.counts(db)
        seconds.append(time.perf_counter() - began)
    print(f"the reads of status behind {behind}: {statistics.median(seconds):.3f} s")


def bare() -> float:
    """What every command pays: the interpreter's own start."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def write(folder: Path, number: int, draw: random.Random) -> Path:
    config = {"stage": "train", "lr": draw.random(), "epochs": draw.randrange(5, 50), "note": f"a remark {number}"}
    config |= {f"option_{key}": draw.random() for key in range(draw.randrange(40))}
    path = folder / f"model{number}.json"
    path.write_text(json.dumps(config))
    return path


def call(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "repro", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

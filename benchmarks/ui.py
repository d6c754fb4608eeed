"""The page on a long queue: what each list costs, what viewers cost MongoDB, how soon a browser shows it.

python -m benchmarks.ui [--finished 1000000]

Needs Debian's chromium for the parts with a browser, and says so where there is none.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from benchmarks.queue import fill
from repro.scheduler import runs
from repro.scheduler.queue import workers
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect, server_time
from repro.scheduler.settings import Settings

ROUNDS, VIEWERS, SECONDS = 15, 20, 20
PAGES = (
    "/?",
    "/runs?",
    "/runs?state=done&",
    "/runs?sort=-metrics.accuracy&",
    "/runs?where=lr%3E0.5&",
    "/runs?where=lr%3E0.5&where=arch%3Dresnet&sort=-metrics.accuracy&",
    "/runs?stage=rare&state=done&",
    "/runs?sort=name&",
    "/runs?name=f12345*&",
    "/runs/f500000?",
    "/queue?",
    "/workers?",
)
BUDGET_MS, BUDGET_KB = 100, 60
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=int, default=1_000_000, help="done runs")
    finished = parser.parse_args().finished
    with tempfile.TemporaryDirectory() as text:
        settings = Settings.read({"REPRO_HOME": f"{text}/home"})
        db = connect(settings)
        try:
            prepare(db, finished)
            environment = os.environ | {"REPRO_HOME": f"{text}/home", "REPRO_STORE": f"{text}/store"}
            words = [sys.executable, "-m", "repro", "ui", "--port", "0", "--no-browser"]
            with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as site:
                assert site.stdout is not None
                address = site.stdout.readline().strip().rstrip("/")
                try:
                    lists(address)
                    deep(address)
                    viewers(db, address, embedded_pid(settings))
                    browser(address)
                finally:
                    site.terminate()
        finally:
            db.client.close()
            embedded.stop(settings.home)


def prepare(db: Any, finished: int) -> None:
    now = server_time(db)

    def done(i: int) -> Any:
        config = {"stage": "rare" if i % 100_000 == 7 else "train", "lr": i % 1000 / 1000, "epochs": i % 20, "seed": i}
        config |= {"arch": ("resnet", "baseline", "mlp")[i % 3], **{f"key{k}": k for k in range(6)}}
        params = {key: {"value": value, "default": False} for key, value in config.items()}
        params |= {f"default{k}": {"value": k, "default": True} for k in range(15)}
        document = runs.document(f"f{i}", config, f"{i:064x}", [f"f{i - 1}"] if i % 3 else [], [])
        metrics = {"accuracy": i * 7919 % 1_000_003 / 1_000_003, "loss": 1 / (i + 1)}
        at = now - timedelta(seconds=finished - i)
        facts = {"state": "done", "metrics": metrics, "params": params, "finished_at": at, "location": "file:///s/x"}
        return document | facts | {"history": [{"at": at, "to": "done"}], "outputs": []}

    began = time.perf_counter()
    fill(db, finished, done)
    filled = time.perf_counter()
    runs.create_indexes(db)
    print(
        f"{finished} done runs: filled in {filled - began:.0f} s; indexes made in {time.perf_counter() - filled:.0f} s"
    )
    pending = [runs.document(f"p{i}", {"stage": "train", "gpus": i % 5}, f"p{i}", [], []) for i in range(1000)]
    runs.submit(db, pending)
    workers.announce(db, "box:1", ["GPU-a"], 1)
    for _ in range(10):
        assert runs.claim(db, "box:1", [0], 600)


def ask(address: str) -> tuple[float, int, bytes]:
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=60) as answer:
        data = answer.read()
    return time.perf_counter() - began, len(data), data


def lists(address: str) -> None:
    """Each page, never the same address twice, so that nothing is remembered; after one to warm up."""
    for path in PAGES:
        ask(f"{address}{path}n=warm")
        found = [ask(f"{address}{path}n={i}") for i in range(ROUNDS)]
        wait, size = statistics.median(one[0] for one in found) * 1e3, found[0][1] / 1e3
        over = " (over the budget)" * (wait > BUDGET_MS or size > BUDGET_KB)
        print(f"{path.rstrip('?&'):70} {wait:6.0f} ms, {size:5.1f} kB{over}")


def deep(address: str) -> None:
    """The pages one after another, by their cursors: the last costs what the first one does."""
    for sort in ("-metrics.accuracy", "name"):
        after, waits = "", []
        for _ in range(40):
            wait, _, data = ask(f"{address}/api/runs?sort={sort}&limit=500&after={after}")
            waits.append(wait * 1e3)
            after = json.loads(data)["after"]
        first, last = statistics.median(waits[:5]), statistics.median(waits[-5:])
        print(f"by {sort}, 500 rows a page: the first {first:.0f} ms, behind 19,500 rows {last:.0f} ms")


def viewers(db: Any, address: str, mongod: int) -> None:
    """The share of a core that MongoDB needs for so many who look at the queue, beside what the changes cost alone."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.5):
            run = db.runs.find_one({"state": "running"})
            runs.renew(db, run["_id"], run["lease"]["token"], 600, {"progress": {"step": 1, "total": 2}})

    def look() -> None:
        with urllib.request.urlopen(f"{address}/news", timeout=120) as news:
            for line in news:
                if over.is_set():
                    return
                if line.startswith(b"data"):
                    ask(f"{address}/")

    changing = threading.Thread(target=change)
    changing.start()
    alone = share(mongod)
    looking = [threading.Thread(target=look, daemon=True) for _ in range(VIEWERS)]
    for one in looking:
        one.start()
    looked_at = share(mongod)
    over.set()
    changing.join()
    print(
        f"mongod with two changes a second: {alone:.1f} % of a core; with {VIEWERS} viewers of the first page besides "
        f"{looked_at:.1f} %, {looked_at - alone:.1f} more (budget 5)"
    )


def share(pid: int) -> float:
    process = psutil.Process(pid)
    process.cpu_percent()
    time.sleep(SECONDS)
    return process.cpu_percent()


def embedded_pid(settings: Settings) -> int:
    (process,) = (
        one
        for one in psutil.process_iter(["name", "cmdline"])
        if "mongod" in (one.info["name"] or "") and str(settings.home) in " ".join(one.info["cmdline"] or [])
    )
    return int(process.pid)


def browser(address: str) -> None:
    """How soon Chromium shows a list, by its own clock."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: nothing is told of a browser")
        return
    from playwright.sync_api import sync_playwright

    paint = """() => new Promise((told) => new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") told(entry.startTime);
    }).observe({type: "paint", buffered: true}))"""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = found.new_page()
        for path in ("/", "/runs", "/runs?sort=-metrics.accuracy"):
            waits = []
            for _ in range(5):
                tab.goto(address + path)
                waits.append(tab.evaluate(paint))
            print(f"first paint of {path}: {statistics.median(waits):.0f} ms (budget 500)")
        found.close()
    scripts = sum(path.stat().st_size for path in Path("repro/web/static").glob("*.js"))
    print(f"all scripts: {scripts / 1e3:.1f} kB (budget 45)")


if __name__ == "__main__":
    main()

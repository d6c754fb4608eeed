"""How soon Chromium has drawn the curves of so many finished runs, from the click on their comparison.

python -m benchmarks.ui_curves [--runs 50] [--points 10000]

The first row is of a page that was just started and has read none of them; the second of one that has them already.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.queue import fill
from benchmarks.ui import FLAGS
from repro.scheduler import runs
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect, server_time
from repro.scheduler.settings import Settings

ROUNDS = 5
CLICK = """() => { const link = document.createElement("a"); link.href = "compare?names=c*&tab=curves";
    link.id = link.textContent = "curves"; document.querySelector("main").prepend(link); }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--points", type=int, default=10_000, help="of each run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text, sync_playwright() as playwright:
        folder = Path(text)
        settings = Settings.read({"REPRO_HOME": f"{folder}/home"})
        db = connect(settings)
        try:
            prepare(db, folder / "store", options.runs, options.points)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            found = [in_a_new_server(folder, browser.new_page()) for _ in range(ROUNDS)]
            browser.close()
        finally:
            db.client.close()
            embedded.stop(settings.home)
    for i, name in enumerate(("never read before", "read before")):
        waits = [one[i] for one in found]
        print(f"{name:20} {statistics.median(waits):.2f} s ({min(waits):.2f} to {max(waits):.2f})")


def prepare(db: Any, store: Path, count: int, points: int) -> None:
    runs.create_indexes(db)
    now, noise = server_time(db), random.Random(0)

    def done(i: int) -> Any:
        folder = store / f"c{i}"
        folder.mkdir(parents=True)
        rows = (f"{k / 100!r},{1 / (1 + k / 1000) + 0.1 * noise.random()!r}\n" for k in range(points))
        (folder / "losses.csv").write_text("epoch,loss\n" + "".join(rows))
        facts = {"state": "done", "finished_at": now, "location": f"file://{folder}", "outputs": [], "metrics": {}}
        return runs.document(f"c{i}", {"stage": "train", "lr": i / 1000}, f"{i:064x}", [], []) | facts

    fill(db, count, done)


def in_a_new_server(folder: Path, tab: Page) -> tuple[float, float]:
    environment = os.environ | {"REPRO_HOME": f"{folder}/home", "REPRO_STORE": f"{folder}/store"}
    words = [sys.executable, "-m", "repro", "ui", "--port", "0", "--no-browser"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        address = site.stdout.readline().strip().rstrip("/")
        try:
            return click(tab, address), click(tab, address)
        finally:
            site.terminate()


def click(tab: Page, address: str) -> float:
    tab.goto(f"{address}/runs")
    tab.evaluate(CLICK)
    began = time.perf_counter()
    tab.click("#curves", no_wait_after=True)
    tab.wait_for_selector("#charts[data-state=drawn]", timeout=60_000)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""How soon Chromium shows a table of the same runs: ours, MLflow's and Aim's pages, one after another on one machine.

python -m benchmarks.ui_peers --peers .venv-bench-ui/bin [--runs 10000] [--folder FOLDER]

Timed from the navigation to the moment at which a row that must come first can be seen, or at which 50 curves of 10,000
points are drawn; medians of five, after one to warm up. MLflow on SQLite, Aim on its own repository, ours on the
embedded MongoDB. Aim's page has no order by a figure, and no address of its own for curves. To fill the peers takes
long: with a `--folder` that is done once.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks import ui_curves
from benchmarks.queue import fill
from benchmarks.ui import FLAGS
from repro.scheduler import runs
from repro.scheduler.server import connection, embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings

ROUNDS, PATIENCE_MS = 5, 120_000
CURVES, POINTS = 50, 10_000
MLFLOW = """
import random, sys
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("bench")
for i in range(int(sys.argv[2])):
    run = client.create_run(experiment, run_name=f"f{i}").info.run_id
    figures = [Metric("accuracy", i * 7919 % 1_000_003, 1, 0), Metric("loss", 1 / (i + 1), 1, 0)]
    client.log_batch(run, metrics=figures, params=[Param(f"key{k}", str(i % (k + 2))) for k in range(10)])
    client.set_terminated(run)
experiment = client.create_experiment("curves")
noise = random.Random(0)
for i in range(int(sys.argv[3])):
    run = client.create_run(experiment, run_name=f"c{i}").info.run_id
    for begin in range(0, int(sys.argv[4]), 1000):
        steps = range(begin, begin + 1000)
        client.log_batch(run, metrics=[Metric("curve", 1 / (1 + k / 1000) + 0.1 * noise.random(), k, k) for k in steps])
    client.set_terminated(run)
"""
AIM = """
import random, sys
from aim import Run
def begin(name):
    run = Run(repo=sys.argv[1], system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False)
    run.name = name
    return run
noise = random.Random(0)
for i in range(int(sys.argv[3])):
    run = begin(f"c{i}")
    for k in range(int(sys.argv[4])):
        run.track(1 / (1 + k / 1000) + 0.1 * noise.random(), name="curve", step=k)
    run.close()
for i in range(int(sys.argv[2])):
    run = begin(f"f{i}")
    run["hparams"] = {f"key{k}": i % (k + 2) for k in range(10)}
    run.track(i * 7919 % 1_000_003, name="accuracy", step=0)
    run.track(1 / (i + 1), name="loss", step=0)
    run.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="bin of an environment with requirements-ui.txt")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the peers' data stay; else they are made anew")
    options = parser.parse_args()
    count, best = options.runs, max(range(options.runs), key=lambda i: i * 7919 % 1_000_003)
    newest = f"f{count - 1}"
    with tempfile.TemporaryDirectory() as text, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 860})
        with ours(Path(text), count) as address:
            table = f"{address}/runs?state=done"
            sorted_ = f"{address}/runs?sort=-metrics.accuracy"
            curves = show(tab, f"{address}/compare?names=c*&tab=curves", "#charts[data-state=drawn]")
            tell("repro ui", show(tab, table, f"#run-{newest}"), show(tab, sorted_, f"#run-f{best}"), curves)
        folder = options.folder or Path(text)
        folder.mkdir(parents=True, exist_ok=True)
        with mlflow(folder.resolve(), options.peers.resolve(), count) as address:
            table = f"{address}/#/experiments/1/runs"
            sorted_ = f"{table}?orderByKey=metrics.%60accuracy%60&orderByAsc=false"
            curves = show(tab, of_mlflow(address), ".js-plotly-plot .trace >> nth=49")
            tell("MLflow", show(tab, table, f"text='{newest}'"), show(tab, sorted_, f"text='f{best}'"), curves)
        with aim(folder.resolve(), options.peers.resolve(), count) as address:
            tell("Aim", show(tab, f"{address}/runs", f"text='{newest}'"), None, None)
        browser.close()


def tell(name: str, *waits: float | None) -> None:
    told = (f"{wait:6.2f} s" if wait is not None else "not asked" for wait in waits)
    parts = zip(("table", "by a figure", "50 curves"), told, strict=True)
    print(f"{name:10} " + ", ".join(map(" ".join, parts)), flush=True)


def of_mlflow(address: str) -> str:
    """MLflow's page of one figure of all runs that have curves."""
    asked = json.dumps({"experiment_ids": ["2"], "max_results": CURVES}).encode()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search", asked, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        names = [run["info"]["run_id"] for run in json.load(answer)["runs"]]
    words = {"runs": json.dumps(names), "metric": '"curve"', "experiments": '["2"]', "plot_metric_keys": '["curve"]'}
    words |= {"plot_layout": "{}", "x_axis": "step", "y_axis_scale": "linear", "line_smoothness": "1"}
    words |= {"show_point": "false", "deselected_curves": "[]", "last_linear_y_axis_range": "[]"}
    return f"{address}/#/metric?{urllib.parse.urlencode(words)}"


def show(tab: Page, address: str, row: str) -> float:
    """Seconds until the row can be seen, from an empty page each time."""
    waits = []
    for _ in range(ROUNDS + 1):
        tab.goto("about:blank")
        began = time.perf_counter()
        tab.goto(address, wait_until="commit")
        tab.locator(row).first.wait_for(timeout=PATIENCE_MS)
        waits.append(time.perf_counter() - began)
    return statistics.median(waits[1:])


@contextlib.contextmanager
def ours(folder: Path, count: int) -> Iterator[str]:
    settings = Settings.read({"REPRO_HOME": f"{folder}/home"})
    db = connect(settings)
    runs.create_indexes(db)
    now = db.client.admin.command("hello")["localTime"]

    def done(i: int) -> object:
        config = {"stage": "train", **{f"key{k}": i % (k + 2) for k in range(10)}}
        result = {"state": "done", "finished_at": now.replace(microsecond=0), "location": "file:///s/x"}
        metrics = {"accuracy": i * 7919 % 1_000_003, "loss": 1 / (i + 1)}
        return runs.document(f"f{i}", config, f"{i:064x}", [], []) | result | {"metrics": metrics, "outputs": []}

    fill(db, count, done)
    ui_curves.prepare(db, folder / "store", CURVES, POINTS)
    later = connection.server_time(db) + timedelta(seconds=1)
    db.runs.update_one({"_id": f"f{count - 1}"}, {"$set": {"finished_at": later}})  # it is the newest
    environment = os.environ | {"REPRO_HOME": f"{folder}/home", "REPRO_STORE": f"{folder}/store"}
    words = [sys.executable, "-m", "repro", "ui", "--port", "0", "--no-browser"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        yield site.stdout.readline().strip().rstrip("/")
        site.terminate()
    db.client.close()
    embedded.stop(settings.home)


@contextlib.contextmanager
def mlflow(folder: Path, binaries: Path, count: int) -> Iterator[str]:
    store = f"sqlite:///{folder}/mlflow.db"
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": store}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # on two cores its dozens of helpers leave it no time
    if not (folder / "mlflow.db").exists():
        call(binaries, MLFLOW, store, count, environment)
    words = [binaries / "mlflow", "server", "--workers", "2", "--backend-store-uri", store, "--port", "5911"]
    with serving(words, environment, folder, "http://127.0.0.1:5911") as address:
        yield address


@contextlib.contextmanager
def aim(folder: Path, binaries: Path, count: int) -> Iterator[str]:
    if not (folder / "aim").exists():
        (folder / "aim").mkdir()
        call(binaries, AIM, f"{folder}/aim", count, dict(os.environ))
    words = [binaries / "aim", "up", "--port", "5912", "--repo", f"{folder}/aim"]
    with serving(words, dict(os.environ), folder, "http://127.0.0.1:5912") as address:
        yield address


def call(binaries: Path, code: str, where: str, count: int, environment: dict[str, str]) -> None:
    words = [binaries / "python", "-c", code, where, str(count), str(CURVES), str(POINTS)]
    subprocess.run(words, env=environment, check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def serving(words: list[object], environment: dict[str, str], folder: Path, address: str) -> Iterator[str]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [str(word) for word in words]
    with subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **quiet) as server:
        try:
            wait(address)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def wait(address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5)
            return
        time.sleep(0.2)
    raise SystemExit(f"nobody answers at {address}")


if __name__ == "__main__":
    main()

"""The same search, whatever the fleet: real workers of 1, 2 and 7 that are killed, and a MongoDB that stands still,
come to the runs, the bytes and the winner of a loop without any queue."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from repro.scheduler import runs
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests import toy

ROOT = Path(__file__).parents[2]
CLIMB = {"stage": "toy_climbs", "epochs": 4, "pause": 0.3}
PEAK = {
    **{"stage": "search", "source": "climb", "metric": "score", "trials": 9, "lag": 4, "rungs": [1, 2]},
    **{"space_lr": "log:1e-4..1", "space_size": "1..9", "space_kind": ["a", "b"]},
}
LEASE = 2.0
WORDS = ["worker", "--gpus", "none", "--cpus", "1", "--lease", str(LEASE), "--max-idle", "600"]
PATIENCE = 300  # seconds
KILLS = 5


class Place:
    """A queue of its own with a server of its own, and workers on it."""

    def __init__(self, folder):
        toy.install(folder / "toy")
        for name, config in (("climb", CLIMB), ("peak", PEAK)):
            (folder / f"{name}.json").write_text(json.dumps(config))
        found = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
        paths = {"REPRO_HOME": str(folder / "home"), "REPRO_STORE": str(folder / "store"), "REPRO_DATA": str(folder)}
        self.folder, self.environment = folder, found | paths | {"PYTHONPATH": str(folder / "toy")}
        self.db = connect(Settings.read(self.environment))
        self.workers, self.log = [], (folder / "workers.log").open("ab")

    def work(self):
        words = [sys.executable, "-m", "repro", *WORDS]
        told = {"stdout": self.log, "stderr": self.log}
        self.workers.append(
            subprocess.Popen(words, cwd=self.folder, env=self.environment, start_new_session=True, **told)
        )

    def busy(self):
        """A worker that holds a run, and its name."""
        under_way = self.db.runs.find({"state": "running"}, {"lease": 1})
        names = {run["lease"]["worker"] for run in under_way}
        found = [(one, f"{socket.gethostname()}:{one.pid}") for one in self.workers]
        return next(((worker, name) for worker, name in found if name in names), None)

    def end(self, worker):
        self.workers.remove(worker)
        worker.kill()
        worker.wait()

    def repro(self, *words):
        command = [sys.executable, "-m", "repro", *words]
        told = {"capture_output": True, "text": True}
        return subprocess.run(command, cwd=self.folder, env=self.environment, check=False, **told)

    def close(self):
        while self.workers:
            self.end(self.workers[0])
        self.log.close()
        self.db.client.close()
        embedded.stop(self.folder / "home")

    def digest(self):
        keys = {"config": 1, "metrics": 1, "outputs": 1, "stage": 1, "same_as": 1}
        found = {run["_id"]: run for run in self.db.runs.find({}, keys)}
        return {
            "runs": {
                name: {
                    "config": run["config"],
                    "metrics": run["metrics"],
                    "outputs": {output["path"]: output["sha256"] for output in run["outputs"]},
                }
                for name, run in found.items()
                if run["stage"] != "search"
            },
            "winner": found["peak"].get("same_as"),
        }


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    toy.install(folder / "toy")
    for name, config in (("climb", CLIMB), ("peak", PEAK)):
        (folder / f"{name}.json").write_text(json.dumps(config))
    environment = os.environ | {"PYTHONPATH": f"{folder / 'toy'}{os.pathsep}{ROOT}", "REPRO_DATA": str(folder)}
    words = [sys.executable, "-m", "tests.chaos.search_alone", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def mongod_of(place):
    (found,) = (
        one
        for one in psutil.process_iter(["name", "cmdline"])
        if "mongod" in (one.info["name"] or "") and str(place.folder / "home") in " ".join(one.info["cmdline"] or [])
    )
    return found


def trouble(place, draw, over, struck):
    """Kill workers in the middle of a run and start others; once, let MongoDB stand still for half a lease.

    `struck`: the workers that took a run with them.
    """
    while len(struck) < KILLS and not over.is_set():
        over.wait(draw.uniform(0, 0.3))
        if busy := place.busy():
            worker, name = busy
            place.end(worker)
            struck += [name] if place.db.runs.count_documents({"state": "running", "lease.worker": name}) else []
            place.work()
        if len(struck) == 2 and busy:
            server = mongod_of(place)
            server.send_signal(signal.SIGSTOP)
            over.wait(LEASE / 2)
            server.send_signal(signal.SIGCONT)
        place.db.runs.update_many({"state": "pending"}, {"$set": {"not_before": None}})  # no backoff: it takes long


@pytest.mark.parametrize("size", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)])
def test_any_fleet_with_kills_gives_the_runs_of_a_loop_without_a_queue(place, alone, size):
    submitted = place.repro("submit", "peak.json", "--max-attempts", "100")
    assert submitted.returncode == 0, submitted.stderr
    for _ in range(size):
        place.work()
    over, struck = threading.Event(), []
    troubled = threading.Thread(target=trouble, args=(place, random.Random(size), over, struck))
    troubled.start()
    try:
        with place.db.runs.watch([{"$match": {"documentKey._id": "peak"}}], max_await_time_ms=500) as news:
            for _ in range(PATIENCE * 2):
                if (run := place.db.runs.find_one({"_id": "peak"}))["state"] in ("done", "failed"):
                    break
                news.try_next()
    finally:
        over.set()
        troubled.join()
    log = (place.folder / "workers.log").read_text()[-3000:]
    assert run["state"] == "done", (run.get("error"), run.get("trials"), log)
    assert place.digest() == alone
    ends = [entry for one in place.db.runs.find({}, {"history": 1}) for entry in one["history"]]
    taken_away = sum("renewing its lease" in str(entry.get("why")) for entry in ends)
    assert taken_away >= len(struck) > 0, (taken_away, struck)
    logs = [path.read_text() for path in (place.folder / "store").glob("*/repro-log.txt")]
    assert any("going on from the checkpoint" in log for log in logs)
    checked = place.repro("search", "peak", "--check")
    assert (checked.returncode, checked.stdout) == (0, "peak: each trial is proposed again as it was\n")
    assert runs.claim(place.db, "nobody", (0,), 30) is None

"""Chains of runs through several workers on three real mongods, while primaries and workers are struck.

The schedule is seeded: every fault strikes, in an order of its own for each seed; `make chaos SEEDS="2 3 4"` runs
more. Afterwards the final state and the histories are checked against what an undisturbed queue promises.
"""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from scheduler import embedded, mongod, runs
from scheduler.mongo import connect
from scheduler.settings import Settings
from stages import config as configs
from tests import toy

CHAINS = 12
FAULTS = ["step down", "kill worker", "kill primary", "stop primary", "kill worker", "step down"]
PATIENCE = 100  # seconds for the whole


class ReplicaSet:
    """Three mongods on loopback that elect one of them within two seconds."""

    def __init__(self, folder):
        self.folder, self.ports = folder, [embedded._free_port(None) for _ in range(3)]
        self.processes = {port: self.start(port) for port in self.ports}
        members = [{"_id": i, "host": f"127.0.0.1:{port}"} for i, port in enumerate(self.ports)]
        settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
        for port in self.ports:  # all must answer: initiating asks each of them and fails on one that is not up yet
            with self.client(port) as client:
                client.admin.command("ping")
        with self.client(self.ports[0]) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        self.url = f"mongodb://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/repro?replicaSet=rs0"
        self.primary()

    def start(self, port):
        data = self.folder / str(port)
        data.mkdir(exist_ok=True, parents=True)
        return mongod.spawn(mongod.find(), data, port, self.folder / f"{port}.log")

    def client(self, port):
        return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=20_000)

    def primary(self):
        with MongoClient(self.url, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command("ping")
            deadline = time.monotonic() + 30
            while (found := client.primary) is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            return found[1]

    def step_down(self):
        with self.client(self.primary()) as client, contextlib.suppress(AutoReconnect, OperationFailure):
            client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=3, force=True)

    def kill(self):
        port = self.primary()
        self.processes[port].kill()
        self.processes[port].wait()
        self.primary()
        self.processes[port] = self.start(port)

    def freeze(self):
        port = self.primary()
        self.processes[port].send_signal(signal.SIGSTOP)
        others = [other for other in self.ports if other != port]
        try:
            deadline = time.monotonic() + 30
            while not any(self.is_primary(other) for other in others):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            self.processes[port].send_signal(signal.SIGCONT)

    def is_primary(self, port):
        with self.client(port) as client, contextlib.suppress(PyMongoError):
            return client.admin.command("hello")["isWritablePrimary"]
        return False

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def servers(tmp_path, mongo_server):
    found = ReplicaSet(tmp_path / "mongo")
    yield found
    found.end()


class Fleet:
    """Worker processes, as a user starts them."""

    def __init__(self, environment, log):
        self.environment, self.log = environment, log
        self.workers = [self.start(), self.start()]

    def start(self):
        command = [sys.executable, "-m", "repro", "worker", "--gpus", "none", "--cpus", "2", "--lease", "5"]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)

    def kill_one(self, chance):
        victim = chance.randrange(len(self.workers))
        self.workers[victim].kill()
        self.workers[victim].wait()
        self.workers[victim] = self.start()

    def end(self):
        for worker in self.workers:
            worker.terminate()
        return [worker.wait(timeout=30) for worker in self.workers]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1").split())
def test_no_run_is_lost_doubled_or_changed(servers, tmp_path, seed):
    toy.install(tmp_path / "toy")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")} | {
        "REPRO_MONGO_URL": servers.url,
        "REPRO_HOME": str(tmp_path / "home"),
        "REPRO_STORE": str(tmp_path / "store"),
        "PYTHONPATH": str(tmp_path / "toy"),
    }
    with contextlib.closing(connect(Settings.read(environment)).client) as client:
        work_through_faults(client.get_default_database(), servers, environment, tmp_path / "workers.log", seed)


def work_through_faults(db, servers, environment, log, seed):
    submit_chains(db)
    fleet = Fleet(environment, log)
    try:
        strike(servers, fleet, db, random.Random(seed))
        wait_until_done(db)
    finally:
        codes = fleet.end()
    text = log.read_text()
    assert codes == [0, 0], text[-3000:]
    assert "Traceback" not in text, text[text.index("Traceback") :][:3000]
    for run in db.runs.find():
        check(run)
    assert db.runs.count_documents({}) == 3 * CHAINS


def submit_chains(db):
    runs.create_indexes(db)
    for chain in range(CHAINS):
        source, digest = (), {}
        for link in "abc":
            name = f"{link}{chain}"
            config = {"stage": "toy_slow", "text": f"{name};"} | ({"source": list(source)} if source else {})
            fingerprint = configs.fingerprint(config, digest)
            assert runs.submit(db, [runs.document(name, config, fingerprint, source, source, max_attempts=9)]) == []
            source, digest = (name,), {name: fingerprint}


def strike(servers, fleet, db, chance):
    """One fault after the other, each once some more runs have ended since the last."""
    ended = 0
    for fault in chance.sample(FAULTS, len(FAULTS)):
        ended = wait_for_progress(db, ended + 2)
        match fault:
            case "step down":
                servers.step_down()
            case "kill primary":
                servers.kill()
            case "stop primary":
                servers.freeze()
            case "kill worker":
                fleet.kill_one(chance)


def wait_for_progress(db, goal):
    deadline = time.monotonic() + PATIENCE
    while (ended := count_done(db)) < goal:
        assert time.monotonic() < deadline, f"only {ended} done"
        time.sleep(0.1)
    return ended


def wait_until_done(db):
    assert wait_for_progress(db, 3 * CHAINS) == 3 * CHAINS


def count_done(db):
    with contextlib.suppress(AutoReconnect):
        return db.runs.count_documents({"state": "done"})
    return 0


def check(run):
    """One accepted completion, by a token of its own; every output as it was recorded and as it must be."""
    entries = [(entry["to"], entry.get("token")) for entry in run["history"]]
    claims = [token for to, token in entries if to == "running"]
    completions = [token for to, token in entries if to == "done"]
    assert run["state"] == "done"
    assert len(set(claims)) == len(claims) == run["attempts"], entries
    assert completions == [claims[-1]], entries
    assert run["location"].endswith(claims[-1][:8])
    folder = Path(run["location"].removeprefix("file://"))
    for output in run["outputs"]:
        data = (folder / output["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (output["size"], output["sha256"])
    data = (folder / "text.txt").read_bytes()
    number = run["_id"][1:]
    assert data.decode() == "".join(f"{link}{number};" for link in "abc"[: "abc".index(run["_id"][0]) + 1])
    assert (folder / "run.json").exists()

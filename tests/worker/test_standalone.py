"""A standalone mongod serves, too: no replica set, so no change streams, only polling."""

import subprocess

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from repro.scheduler.server import mongod
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests.ports import free_port
from tests.worker.conftest import Bench


@pytest.fixture
def standalone(tmp_path, mongo_server):
    (tmp_path / "data").mkdir()
    port = free_port()
    command = [mongod.find(), "--dbpath", tmp_path / "data", "--port", str(port), "--bind_ip", "127.0.0.1"]
    options = ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--logpath", tmp_path / "mongod.log"]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
        with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=60_000) as client:
            client.admin.command("ping")
        db = connect(Settings.read({"REPRO_MONGO_URL": f"mongodb://127.0.0.1:{port}/repro"}))
        yield db
        db.client.close()
        process.terminate()


def test_a_chain_runs_on_a_standalone_server(standalone, tmp_path, fork_server):
    bench = Bench(standalone, tmp_path, fork_server)
    with pytest.raises(OperationFailure, match="replica set"):
        standalone.runs.watch()
    bench.submit("a", "write", text="a")
    bench.submit("b", "passes_on", source=["a"])
    bench.submit("c", "reads_passed", source=["b"])
    bench.submit("bad", "raises")
    bench.work(cpus=2)
    assert [bench.get(n)["state"] for n in ("a", "b", "c", "bad")] == ["done", "done", "done", "failed"]
    assert (bench.folder_of("c") / "copy.txt").read_text() == "a"


def test_an_idle_worker_finds_a_run_by_polling(standalone, tmp_path, fork_server):
    bench = Bench(standalone, tmp_path, fork_server)
    worker = bench.worker(max_runs=1)
    step = worker._step
    steps = []

    def submit_when_idle():
        steps.append(step())
        if len(steps) == 2:
            bench.submit("late", "write")
        return steps[-1]

    worker._step = submit_when_idle
    worker.run()
    assert bench.get("late")["state"] == "done"

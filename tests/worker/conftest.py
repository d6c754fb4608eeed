"""A worker in this process on a fresh database and store, with one fork server for all tests."""

import pytest

from repro.scheduler import runs
from repro.stages import config as configs
from repro.stages.source import registry
from repro.worker.attempt.executor import Executor
from repro.worker.loop import Options, Worker
from repro.worker.process.fork_client import ForkServer
from repro.worker.slots import Slots
from repro.worker.store.store import Store
from tests import toy
from tests.worker.fixed_gpus import FixedGpus


@pytest.fixture(scope="session")
def toy_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    toy.install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.syspath_prepend(folder)
        registry.available.cache_clear()
        yield folder
    registry.available.cache_clear()


@pytest.fixture(scope="session")
def fork_server(toy_path):
    with ForkServer() as server:
        yield server


class KeepingConsole:
    """A console that shows nothing, and keeps what it was told."""

    def __init__(self):
        self.outcomes = {}
        self.said = []

    def say(self, text):
        self.said.append(text)

    def started(self, attempt):
        pass

    def tick(self, attempts):
        pass

    def ended(self, attempt, outcome, seconds):
        self.outcomes[attempt.name] = outcome

    def expired(self, count):
        pass

    def close(self):
        pass


class Bench:
    """A queue, a store and a way to run a worker on them until nothing is left."""

    def __init__(self, db, folder, fork_server):
        self.db, self.folder = db, folder
        self.store = Store.open(f"file://{folder}/store", folder / "home")
        self.store.objects.check()
        runs.create_indexes(db)
        self.executor = Executor(self.store, folder / "home", str(folder), fork_server)

    def submit(self, name, stage, source=(), waiting_for=None, options=None, **config):
        whole = {"stage": f"toy_{stage}"} | ({"source": list(source)} if source else {}) | config
        known = {run["_id"]: run["fingerprint"] for run in self.db.runs.find({"_id": {"$in": list(source)}})}
        digest = configs.fingerprint(whole, {name: known.get(name, name) for name in source})
        waiting = list(source) if waiting_for is None else waiting_for
        assert runs.submit(self.db, [runs.document(name, whole, digest, source, waiting, **(options or {}))]) == []

    def worker(self, cpus=1, gpus=(), per_gpu=1, inventory=None, **options):
        slots, inventory = Slots(gpus, cpus, per_gpu), inventory or FixedGpus(tuple(gpus))
        return Worker(self.db, self.executor, slots, Options(**options), KeepingConsole(), inventory)

    def work(self, cpus=1, gpus=(), **options):
        worker = self.worker(cpus, gpus, **({"burst": True} | options))
        worker.run()
        return worker

    def run(self, name, stage, **more):
        self.submit(name, stage, **more)
        self.work()
        return self.get(name)

    def get(self, name):
        return self.db.runs.find_one({"_id": name})

    def folder_of(self, name):
        (folder,) = (self.folder / "store").glob(f"{name}-*")
        return folder


@pytest.fixture
def bench(database, tmp_path, fork_server):
    return Bench(database, tmp_path, fork_server)


@pytest.fixture
def remote(bench, seaweedfs, monkeypatch):
    """The bench with its store on S3."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    bench.store = Store.open(f"s3://{seaweedfs.bucket()}/runs", bench.folder / "home")
    bench.executor.store = bench.store
    return bench

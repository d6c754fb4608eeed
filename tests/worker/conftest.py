"""A worker in this process on a fresh database and store, with one warm interpreter for all tests."""

import pytest

from repro.scheduler import runs
from repro.stages import config as configs
from repro.stages.source import registry
from repro.worker.attempt.executor import Executor
from repro.worker.loop import Options, Worker
from repro.worker.process.fork_client import Interpreter
from repro.worker.slots import Slots
from repro.worker.store.store import Store
from tests import toy
from tests.worker.cards import Fixed


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
def interpreter(toy_path):
    with Interpreter() as found:
        yield found


class Silent:
    """A report that keeps what it is told."""

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

    def __init__(self, db, folder, interpreter):
        self.db, self.folder = db, folder
        self.store = Store.open(f"file://{folder}/store", folder / "home")
        self.store.objects.check()
        runs.create_indexes(db)
        self.executor = Executor(self.store, folder / "home", str(folder), interpreter)

    def submit(self, name, stage, source=(), waiting_for=None, options=None, **config):
        whole = {"stage": f"toy_{stage}"} | ({"source": list(source)} if source else {}) | config
        digest = configs.fingerprint(whole, {s: s for s in source})
        waiting = list(source) if waiting_for is None else waiting_for
        assert runs.submit(self.db, [runs.document(name, whole, digest, source, waiting, **(options or {}))]) == []

    def worker(self, cpus=1, cards=(), per_gpu=1, inventory=None, **options):
        slots, inventory = Slots(cards, cpus, per_gpu), inventory or Fixed(tuple(cards))
        return Worker(self.db, self.executor, slots, Options(**options), Silent(), inventory)

    def work(self, cpus=1, cards=(), **options):
        worker = self.worker(cpus, cards, **({"burst": True} | options))
        worker.run()
        return worker

    def run(self, name, stage, **more):
        self.submit(name, stage, **more)
        self.work()
        return self.get(name)

    def get(self, name):
        return self.db.runs.find_one({"_id": name})

    def folder_of(self, name):
        (found,) = (self.folder / "store").glob(f"{name}-*")
        return found


@pytest.fixture
def bench(database, tmp_path, interpreter):
    return Bench(database, tmp_path, interpreter)


@pytest.fixture
def remote(bench, seaweedfs, monkeypatch):
    """The bench with its store on S3."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    bench.store = Store.open(f"s3://{seaweedfs.bucket()}/runs", bench.folder / "home")
    bench.executor.store = bench.store
    return bench

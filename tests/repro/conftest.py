"""A worker in this process, for tests of commands whose subject is what a worker has left."""

import pytest

from repro.scheduler import runs
from repro.scheduler.queue import workers
from repro.scheduler.settings import Settings
from repro.worker.attempt.executor import Executor
from repro.worker.loop import Options, Worker
from repro.worker.slots import Slots
from repro.worker.store.store import Store
from tests.worker.conftest import KeepingConsole, fork_server, toy_path
from tests.worker.fixed_gpus import FixedGpus

__all__ = ["fork_server", "toy_path"]


@pytest.fixture
def work(database, settings_environment, fork_server):
    """What `repro worker --burst --gpus none` does, without waiting for a fork server of its own."""

    def burst():
        settings = Settings.read(settings_environment)
        store = Store.open(settings.store, settings.home)
        store.objects.check()
        runs.create_indexes(database)
        workers.fix_store(database, settings.store, store.probe())
        executor = Executor(store, settings.home, settings.data, fork_server)
        Worker(database, executor, Slots((), 1), Options(burst=True), KeepingConsole(), FixedGpus(())).run()

    return burst

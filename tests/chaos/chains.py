"""The runs of a storm: chains of three, submitted from files as a user does, and their fault-free results."""

import json
import threading
import time
from pathlib import Path

from repro.scheduler import runs
from repro.scheduler.queue import submission
from repro.scheduler.server.connection import DriverError
from tests.chaos import objects
from tests.worker.conftest import Bench

LINKS = "abc"
SMALL, LARGE = 20_000, 9 << 20  # bytes of an output; the large ones go to S3 in parts
CLAIMABLE = 4  # runs that are kept so, besides those that a fault has put off


def names(chain):
    return [f"{link}{chain}" for link in LINKS]


def write(folder, chain):
    """The config files of a chain; the path of its last one, which names the others."""
    source = None
    for number, name in enumerate(names(chain)):
        size = LARGE if chain % 5 == number == 0 else SMALL
        config = {"stage": "toy_slow", "seed": 3 * chain + number, "text": f"{name};", "bytes": size}
        path = folder / f"{name}.json"
        path.write_text(json.dumps(config | ({"source": source} if source else {})))
        source = name
    return path


class Submitter(threading.Thread):
    """Keeps some runs claimable until it has had enough; what fails is submitted again, as a user would."""

    def __init__(self, db, folder, history, least):
        super().__init__(name="submitter", daemon=True)
        self.db, self.folder, self.history, self.least = db, folder, history, least
        self.chains = self.refused = 0
        self._enough = threading.Event()

    def run(self):
        while self.chains < self.least or not self._enough.is_set():
            self.submit_next()

    def submit_next(self):
        """One more chain, as often as it takes."""
        path = write(self.folder, self.chains)
        self.history.attempted.update(names(self.chains))
        while not self._submit(path):
            self.refused += 1
        self.history.acknowledged.update(names(self.chains))
        self.chains += 1

    def _submit(self, path):
        try:
            while self.db.runs.count_documents(runs.claimable([0])) > CLAIMABLE:
                time.sleep(0.1)
            submission.submit(self.db, [path], None, submission.Options(max_attempts=100))
        except DriverError:
            return False
        return True

    def enough(self):
        """Ends when it has submitted all that it began."""
        self._enough.set()
        self.join()


class Calm:
    """The same chains on a queue and a store of their own, where nothing is injected; as many as were asked for."""

    def __init__(self, db, folder: Path, fork_server):
        self.bench, self.chains = Bench(db, folder, fork_server), 0
        self.configs = folder / "configs"
        self.configs.mkdir()

    def final(self, chains):
        if chains > self.chains:
            paths = [write(self.configs, chain) for chain in range(self.chains, chains)]
            submission.submit(self.bench.db, paths)
            self.bench.work(cpus=8)  # whose stages mostly sleep
            self.chains = chains
        return objects.final(self.bench.db, objects.LocalObjects(self.bench.store.url))

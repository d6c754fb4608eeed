"""A second queue with its results in the same store: runs of the same names and configs, computed by its own worker.

Neither queue's faults, nor its `gc`, are to touch what is the other's.
"""

from dataclasses import replace

from repro.scheduler.queue import submission
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests.chaos import chains
from tests.chaos.fleet import Fleet
from tests.chaos.history import History

CHAINS = 3


class Neighbour:
    """Its worker and its documents, from `with` on. `environment`: that of the other queue's workers."""

    def __init__(self, environment, folder, lease):
        url = environment["REPRO_MONGO_URL"].replace("/repro?", "/neighbour?")
        assert url != environment["REPRO_MONGO_URL"]
        self.environment = environment | {"REPRO_MONGO_URL": url, "REPRO_HOME": str(folder / "home")}
        self.folder, self.history = folder, History(lease)

    def __enter__(self):
        self.folder.mkdir()
        self.db = connect(Settings.read(self.environment))
        self.fleet = Fleet(self.history, [self.environment], self.folder / "worker.log")
        return self

    def __exit__(self, *_):
        self.fleet.kill()
        self.db.client.close()

    def submit(self):
        paths = [chains.write(self.folder, chain) for chain in range(CHAINS)]
        submission.submit(self.db, paths, None, submission.Options(max_attempts=100))

    def is_done(self):
        return self.db.runs.count_documents({"state": "done"}) == 3 * CHAINS

    def final(self, other):
        """How its queue stands now, in the store as `other` has found it."""
        return replace(other, runs={run["_id"]: run for run in self.db.runs.find()})

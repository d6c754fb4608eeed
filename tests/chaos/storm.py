"""The driver: runs in chains of three through several workers, while everything is struck that can be.

A seed decides the order of the faults, who is struck, and in which runs the workers are killed at the labelled
steps: at every step, in each storm. A clock that is wrong is no event: one worker and one mongod have one all the
time, and the mongod's becomes the queue's when it is primary. A storm is long or short by its number of chains; all
faults strike in each.
"""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests import toy
from tests.chaos import chains, checker, clock, objects, tracebacks
from tests.chaos.faults import FAULTS, LAST, wait_until
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.neighbour import Neighbour
from tests.chaos.recorder import Recorder
from tests.chaos.servers import ReplicaSet
from tests.disk import small_disk
from tests.worker.steps import STEPS

LEASE = 9.0
SKEW = 90.0  # seconds by which two clocks are wrong


class Storm:
    """Servers, a disk, workers and a recorder, from `with` on; results go to `store`, a Place (stores.py).

    It is over when every fault has struck and all is done that was submitted, `chains` at least.
    """

    def __init__(self, folder, toy_path, seed, store, chains):
        self.folder, self.toy_path, self.chance = folder, toy_path, random.Random(seed)
        self.store, self.chains = store, chains
        self.log, self.strikes, self.configs = (folder / name for name in ("workers.log", "strikes", "configs"))
        self.struck = Counter()

    def __enter__(self):
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _start(self, stack):
        self.home = stack.enter_context(small_disk(self.folder / "home-disk", megabytes=128))
        self.servers = stack.enter_context(ReplicaSet(self.folder / "mongo", SKEW))
        self._plan_kills()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
        self.environment = kept | self.store.environment
        self.environment |= {
            "REPRO_MONGO_URL": self.servers.url,
            "REPRO_HOME": str(self.folder / "home"),
            "PYTHONPATH": str(self.toy_path),
            "STRIKES": str(self.strikes),
        }
        self.recorder = stack.enter_context(Recorder(self.servers.url, "repro", self.store.objects, LEASE))
        self.history = self.recorder.history
        self.db = connect(Settings.read(self.environment))
        stack.callback(self.db.client.close)
        self.environment["ASKED_WITNESS"] = str(self.folder / "witness")
        (self.folder / "witness").mkdir()
        self.neighbour = stack.enter_context(Neighbour(self.environment, self.folder / "neighbour", LEASE))
        older = {"PYTHONPATH": str(self._older_code())}
        seats = [{}, {"REPRO_HOME": str(self.home.folder / "home")}, clock.environment(SKEW), older]
        self.fleet = Fleet(self.history, [self.environment | seat for seat in seats], self.log)
        stack.callback(self.fleet.kill)

    def _older_code(self):
        """The stages as they were before `slow` knew the key "bytes": its worker is to leave such runs to others."""
        toy.install(self.folder / "older")
        code = self.folder / "older" / "toy.py"
        text = code.read_text()
        assert 'run.params.get("bytes", 20_000)' in text
        code.write_text(text.replace('run.params.get("bytes", 20_000)', "20_000"))
        return code.parent

    def _plan_kills(self):
        """One run for every labelled step, in which its worker is killed there."""
        self.strikes.mkdir()
        early = [name for chain in range(self.chains // 2) for name in chains.names(chain)]
        for step, run in zip(STEPS, self.chance.sample(early, len(STEPS)), strict=True):
            (self.strikes / f"{step}@{run}").touch()

    def rage(self):
        """Submit, and let every fault strike, until all that was submitted is done."""
        self.configs.mkdir()
        submitter = chains.Submitter(self.db, self.configs, self.history, self.chains)
        submitter.start()
        self.neighbour.submit()
        ended, faults = 0, (*FAULTS, *self.store.faults)
        for fault in (*self.chance.sample(faults, len(faults)), LAST):
            ended = self._wait_until_done(ended + self.chance.randrange(1 + 6 * self.chains // len(faults)))
            self.struck[fault.__name__.replace("_", " ")] += 1
            fault(self)
        submitter.enough()
        self._wait_until_done(3 * submitter.chains)
        while missed := list(self.strikes.iterdir()):
            # The run's worker met another fault between the step and us: the step is still to be struck.
            for strike in missed:
                strike.rename(strike.with_name(f"{strike.name.partition('@')[0]}@a{submitter.chains}"))
                submitter.submit_next()
            self._wait_until_done(3 * submitter.chains)
        wait_until(self.neighbour.is_done, "the other queue is not done")
        self.struck["kill at a step"] = len(STEPS)
        self.chains = submitter.chains

    def _wait_until_done(self, goal):
        """Until so many runs are done, however long it takes, as long as there are ever more; returns how many."""
        while (done := self._done()) < goal:
            wait_until(lambda before=done: self._done() > before, f"it stays at {done} of {goal} runs that are done")
        return done

    def _done(self):
        return len({event.name for event in self.history.events if event.run and event.run["state"] == "done"})

    def left_by_older_code(self):
        """The runs that the worker with older code has handed back."""
        found = (entry for e in self.history.events for entry in (e.run or {}).get("history", ()))
        return [entry for entry in found if checker.LACKS in (entry.get("why") or "")]

    def calm(self):
        """End the workers and the recording; returns how everything stands, before `gc` and after it."""
        codes, text = self.fleet.end() + self.neighbour.fleet.end(), self.log.read_text()
        assert set(codes) <= {0, -signal.SIGTERM}, text[-3000:]  # -SIGTERM: it had only just been started
        assert not (told := tracebacks.ours(text)), told[0][:3000]
        self.recorder.close()
        self.history.hear_witnesses(self.folder / "witness")
        before = objects.final(self.db, self.store.objects)
        command = [sys.executable, "-m", "repro", "gc", "--delete", "--older-than", "0"]
        for environment in (self.environment, self.neighbour.environment):
            subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=120)
        return before, objects.final(self.db, self.store.objects)

"""The driver: runs in chains of three through several workers, while everything is struck that can be.

A seed decides the order of the faults, who is struck, and in which runs the workers are killed at the labelled
steps: at every step, in each storm. A clock that is wrong is no event: one worker and one mongod have one all the
time, and the mongod's becomes the queue's when it is primary.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

from scheduler.mongo import connect
from scheduler.settings import Settings
from tests.chaos import chains, clock, objects
from tests.chaos.faults import FAULTS, LAST
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.recorder import Recorder
from tests.chaos.servers import ReplicaSet
from tests.disk import small_disk
from tests.worker.steps import STEPS

LEASE = 6.0
SKEW = 90.0  # seconds by which two clocks are wrong
CHAINS = 50  # at least
PATIENCE = 180.0  # seconds for the queue to get ahead in spite of a fault


class Storm:
    """Servers, disks, workers and a recorder, from `with` on."""

    def __init__(self, folder, toy_path, seed):
        self.folder, self.toy_path, self.chance = folder, toy_path, random.Random(seed)
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
        self.disk = stack.enter_context(small_disk(self.folder / "store-disk", megabytes=512))
        self.home = stack.enter_context(small_disk(self.folder / "home-disk", megabytes=32))
        self.servers = stack.enter_context(ReplicaSet(self.folder / "mongo", SKEW))
        self._plan_kills()
        self.environment = dict(os.environ) | {
            "REPRO_MONGO_URL": self.servers.url,
            "REPRO_STORE": str(self.disk.folder / "store"),
            "REPRO_HOME": str(self.folder / "home"),
            "PYTHONPATH": str(self.toy_path),
            "STRIKES": str(self.strikes),
        }
        settings = Settings.read(self.environment)
        self.objects = objects.LocalObjects(settings.store)
        self.recorder = stack.enter_context(Recorder(self.servers.url, "repro", self.objects, LEASE))
        self.history = self.recorder.history
        self.db = connect(settings)
        stack.callback(self.db.client.close)
        seats = [{}, {"REPRO_HOME": str(self.home.folder / "home")}, clock.environment(SKEW)]
        self.fleet = Fleet(self.history, [self.environment | seat for seat in seats], self.log)
        stack.callback(self.fleet.kill)

    def _plan_kills(self):
        """One run for every labelled step, in which its worker is killed there."""
        self.strikes.mkdir()
        for step, chain in zip(STEPS, self.chance.sample(range(CHAINS // 2), len(STEPS)), strict=True):
            (self.strikes / f"{step}@{self.chance.choice(chains.LINKS)}{chain}").touch()

    def rage(self):
        """Submit, and let every fault strike, until all that was submitted is done."""
        self.configs.mkdir()
        submitter = chains.Submitter(self.db, self.configs, self.history, CHAINS)
        submitter.start()
        ended = 0
        for fault in (*self.chance.sample(FAULTS, len(FAULTS)), LAST):
            ended = self._wait_until_done(ended + self.chance.randrange(8))
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
        self.struck["kill at a step"] = len(STEPS)
        self.chains = submitter.chains

    def _wait_until_done(self, goal):
        """Until so many runs are done; returns how many there are."""
        deadline = time.monotonic() + PATIENCE
        done = {e.name for e in self.history.events if e.run and e.run["state"] == "done"}
        heard = len(self.history.events)
        while len(done) < goal:
            assert time.monotonic() < deadline, f"only {len(done)} of {goal} runs are done"
            time.sleep(0.1)
            fresh = self.history.events[heard:]
            heard += len(fresh)
            done |= {e.name for e in fresh if e.run and e.run["state"] == "done"}
        return len(done)

    def calm(self):
        """End the workers and the recording; returns how everything stands, before `gc` and after it."""
        codes, text = self.fleet.end(), self.log.read_text()
        assert set(codes) <= {0, -signal.SIGTERM}, text[-3000:]  # -SIGTERM: it had only just been started
        assert "Traceback" not in text, text[text.index("Traceback") :][:3000]
        self.recorder.close()
        before = objects.final(self.db, self.objects)
        command = [sys.executable, "-m", "repro", "gc", "--delete", "--older-than", "0"]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=True, capture_output=True, timeout=120)
        return before, objects.final(self.db, self.objects)

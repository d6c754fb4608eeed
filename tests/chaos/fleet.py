"""Worker processes as a user starts them, whose births and deaths are written down.

They are struck at labelled steps of runs (tests/worker/steps.py); who dies is replaced on the same seat, as a
service manager would.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from tests.chaos.history import Life

ROOT = Path(__file__).parents[2]


class Process:
    """One worker process. Its `life` is kept to the moment by a thread that waits for its end."""

    def __init__(self, environment, log, lease):
        words = ("-m", "tests.worker.steps", "KILL", "worker", "--gpus", "none", "--cpus", "2", "--lease", str(lease))
        with log.open("ab") as file:
            self.popen = subprocess.Popen([sys.executable, *words], env=environment, cwd=ROOT, stdout=file, stderr=file)
        self.life = Life(f"{socket.gethostname()}:{self.popen.pid}", time.monotonic())
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def _wait(self):
        code = self.popen.wait()
        self.life.ended, self.life.killed = time.monotonic(), code == -signal.SIGKILL

    def kill(self):
        self.popen.kill()
        self._waiter.join()

    def stop(self, seconds):
        """SIGSTOP and, later, SIGCONT; returns at once."""
        began = time.monotonic()
        self.popen.send_signal(signal.SIGSTOP)

        def wake():
            self.popen.send_signal(signal.SIGCONT)
            self.life.stops.append((began, time.monotonic()))

        threading.Timer(seconds, wake).start()

    @property
    def is_awake(self):
        return self.popen.poll() is None and psutil.Process(self.popen.pid).status() != psutil.STATUS_STOPPED

    def end(self):
        """SIGTERM; its exit code."""
        self.popen.terminate()
        self._waiter.join(60)
        return self.popen.returncode


class Fleet:
    """`seats`: for each worker, what its environment has besides the common one."""

    def __init__(self, history, environment, seats, log):
        self.history, self.log = history, log
        self.environments = [dict(os.environ) | environment | seat for seat in seats]
        self.workers = [self._start(environment) for environment in self.environments]

    def _start(self, environment):
        process = Process(environment, self.log, self.history.lease)
        self.history.lives.append(process.life)
        return process

    def refill(self):
        """Start a worker on each seat whose last one has died."""
        for place, worker in enumerate(self.workers):
            if worker.popen.poll() is not None:
                self.workers[place] = self._start(self.environments[place])

    def one(self, chance):
        """Some worker that runs, if there is one."""
        awake = [worker for worker in self.workers if worker.is_awake]
        return chance.choice(awake) if awake else None

    def end(self):
        return [worker.end() for worker in self.workers]

    def kill(self):
        for worker in self.workers:
            worker.kill()

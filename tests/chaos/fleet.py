"""Worker processes as a user starts them, whose births and deaths are written down.

They are struck at labelled steps of runs (tests/worker/steps.py); who dies is replaced, as by a service manager.
"""

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
COMMAND = ("-m", "tests.worker.steps", "KILL", "worker", "--gpus", "none", "--cpus", "2", "--lease")


class Seat(threading.Thread):
    """Has a worker process, and another one as soon as that has ended, until `end`."""

    def __init__(self, history, environment, log):
        super().__init__(name="seat", daemon=True)
        self.history, self.environment, self.log = history, environment, log
        self._lock = threading.Lock()
        self._ending = False
        self.process = self._born()

    def run(self):
        while self.process is not None:
            code = self.process.wait()
            self.life.ended, self.life.killed = time.monotonic(), code == -signal.SIGKILL
            with self._lock:
                self.process = None if self._ending else self._born()

    def _born(self):
        command = [sys.executable, *COMMAND, str(self.history.lease)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)
        self.life = Life(f"{socket.gethostname()}:{process.pid}", time.monotonic())
        self.history.lives.append(self.life)
        return process

    def kill(self):
        with self._lock:
            if self.process is not None:
                self.process.kill()

    def stop(self, seconds):
        """SIGSTOP and, later, SIGCONT; returns at once."""
        process, life, began = self.process, self.life, time.monotonic()
        process.send_signal(signal.SIGSTOP)

        def wake():
            process.send_signal(signal.SIGCONT)
            life.stops.append((began, time.monotonic()))

        threading.Timer(seconds, wake).start()

    @property
    def is_awake(self):
        try:
            return psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED
        except (AttributeError, psutil.NoSuchProcess):
            return False

    def end(self, number):
        """The signal, and no replacement; returns the exit code."""
        with self._lock:
            self._ending, process = True, self.process
        if process is None:
            return None
        process.send_signal(number)
        self.join(60)
        return process.returncode


class Fleet:
    """One worker for each of the environments."""

    def __init__(self, history, environments, log):
        self.seats = [Seat(history, environment, log) for environment in environments]
        for seat in self.seats:
            seat.start()

    def one(self, chance):
        """Some worker that runs, if there is one."""
        awake = [seat for seat in self.seats if seat.is_awake]
        return chance.choice(awake) if awake else None

    def end(self):
        """SIGTERM; the exit codes."""
        return [seat.end(signal.SIGTERM) for seat in self.seats]

    def kill(self):
        for seat in self.seats:
            seat.end(signal.SIGKILL)

"""What a run uses of its machine, and how fast it goes: reported with each heartbeat, and in sum when it has ended.

None of it is part of a result: it differs from time to time. Memory is what is resident, and so holds what a stage's
process shares with the fork server that it was forked from.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from repro.scheduler.server.connection import Document
from repro.worker.gpus import Inventory, Load, is_in_group

WINDOW = 30.0  # seconds over which the speed of a running run is taken
PEAK = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)  # in Linux's /proc/PID/status


class StepTime(NamedTuple):
    step: int
    at: float  # seconds, of the worker's monotonic clock


@dataclass
class GpuUsage:
    """One GPU while a run has it."""

    now: Load = field(default_factory=Load)
    memory: int = 0  # bytes: of the run's own processes where the driver shows them, else of all
    peak: int = 0
    readings: int = 0
    sum_of_utilisation: int = 0

    def add(self, load: Load, group: int) -> None:
        own = [used for pid, used in load.computing.items() if is_in_group(pid, [group])]
        self.now, self.memory = load, sum(own) if own else load.memory
        self.peak = max(self.peak, self.memory)
        if load.utilisation is not None:
            self.readings, self.sum_of_utilisation = self.readings + 1, self.sum_of_utilisation + load.utilisation

    def mean(self) -> int | None:
        return round(self.sum_of_utilisation / self.readings) if self.readings else None


@dataclass
class UsageMeter:
    """The meter of one run: hears every progress of it, and measures the machine now and then."""

    peak: int = 0  # bytes
    gpus: dict[str, GpuUsage] = field(default_factory=dict)
    _first: tuple[StepTime, ...] = ()
    _recent: tuple[StepTime, ...] = ()  # never changed but replaced: one thread adds to it, another reads it

    def record_step(self, step: int, at: float) -> None:
        """A progress; one that goes back begins another part of the run, with a speed of its own."""
        newest = StepTime(step, at)
        if not self._recent or step < self._recent[-1].step:
            self._first = self._recent = (newest,)
            return
        *before, last = self._recent
        self._recent = (*(earlier for earlier in before if earlier.at >= at - WINDOW), last, newest)

    def measure(self, inventory: Inventory, gpus: Sequence[str], pid: int) -> None:
        """The GPUs of the run, and its process, which is the leader of its group."""
        with suppress(OSError):  # it has exited, or there is no /proc
            if peak := PEAK.search(Path(f"/proc/{pid}/status").read_bytes()):
                self.peak = max(self.peak, int(peak[1]) * 1024)
        for gpu in gpus:
            if load := inventory.load(gpu):
                self.gpus.setdefault(gpu, GpuUsage()).add(load, pid)

    def now(self) -> Document:
        """`steps_per_second`, `memory` and, `cards`, each with `utilisation` and `memory`, as far as they are known."""
        cards = [{"utilisation": usage.now.utilisation, "memory": usage.memory} for usage in list(self.gpus.values())]
        return _document(_speed(self._recent), self.peak, cards)

    def summary(self) -> Document:
        """The same over the whole run: its mean speed and utilisation, its most memory."""
        cards = [{"utilisation": usage.mean(), "memory": usage.peak} for usage in list(self.gpus.values())]
        return _document(_speed((*self._first, *self._recent)), self.peak, cards)


def _speed(steps: Sequence[StepTime]) -> float | None:
    """Steps a second from the first to the last."""
    if not steps or steps[-1].step <= steps[0].step or steps[-1].at <= steps[0].at:
        return None
    return float(f"{(steps[-1].step - steps[0].step) / (steps[-1].at - steps[0].at):.4g}")


def _document(speed: float | None, memory: int, cards: list[Document]) -> Document:
    fields: Document = {"steps_per_second": speed, "memory": memory, "cards": cards}
    return {name: value for name, value in fields.items() if value}

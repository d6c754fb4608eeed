"""What a run uses of its machine, and how fast it goes: told with each heartbeat, and in sum when it has ended.

None of it is part of a result: it differs from time to time. Memory is what is resident, and so holds what a stage's
process shares with the interpreter that it was forked from.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from repro.scheduler.server.connection import Document
from repro.worker.gpus import Inventory, Load, is_in

WINDOW = 30.0  # seconds over which the speed of a running run is taken
PEAK = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)  # in Linux's /proc/PID/status


class Heard(NamedTuple):
    step: int
    at: float  # seconds, of the worker's monotonic clock


@dataclass
class CardUse:
    """One card while a run has it."""

    now: Load = field(default_factory=Load)
    memory: int = 0  # bytes: of the run's own processes where the driver shows them, else of all
    peak: int = 0
    looks: int = 0
    sum_of_utilisation: int = 0

    def look(self, load: Load, group: int) -> None:
        own = [used for pid, used in load.computing.items() if is_in(pid, [group])]
        self.now, self.memory = load, sum(own) if own else load.memory
        self.peak = max(self.peak, self.memory)
        if load.utilisation is not None:
            self.looks, self.sum_of_utilisation = self.looks + 1, self.sum_of_utilisation + load.utilisation

    def mean(self) -> int | None:
        return round(self.sum_of_utilisation / self.looks) if self.looks else None


@dataclass
class Meter:
    """One run's. It is told every progress, and looks at the machine now and then."""

    peak: int = 0  # bytes
    cards: dict[str, CardUse] = field(default_factory=dict)
    _first: tuple[Heard, ...] = ()
    _recent: tuple[Heard, ...] = ()  # never changed but replaced: one thread hears, another tells

    def heard(self, step: int, at: float) -> None:
        """A progress; one that goes back begins another part of the run, with a speed of its own."""
        heard = Heard(step, at)
        if not self._recent or step < self._recent[-1].step:
            self._first = self._recent = (heard,)
            return
        *before, last = self._recent
        self._recent = (*(one for one in before if one.at >= at - WINDOW), last, heard)

    def look(self, inventory: Inventory, cards: Sequence[str], pid: int) -> None:
        """At the cards of the run, and at its process, which is the leader of its group."""
        with suppress(OSError):  # it has exited, or there is no /proc
            if found := PEAK.search(Path(f"/proc/{pid}/status").read_bytes()):
                self.peak = max(self.peak, int(found[1]) * 1024)
        for card in cards:
            if load := inventory.load(card):
                self.cards.setdefault(card, CardUse()).look(load, pid)

    def now(self) -> Document:
        """`steps_per_second`, `memory` and, `cards`, each with `utilisation` and `memory`, as far as they are known."""
        cards = [{"utilisation": use.now.utilisation, "memory": use.memory} for use in list(self.cards.values())]
        return _told(_speed(self._recent), self.peak, cards)

    def summary(self) -> Document:
        """The same over the whole run: its mean speed and utilisation, its most memory."""
        cards = [{"utilisation": use.mean(), "memory": use.peak} for use in list(self.cards.values())]
        return _told(_speed((*self._first, *self._recent)), self.peak, cards)


def _speed(heard: Sequence[Heard]) -> float | None:
    """Steps a second from the first to the last."""
    if not heard or heard[-1].step <= heard[0].step or heard[-1].at <= heard[0].at:
        return None
    return float(f"{(heard[-1].step - heard[0].step) / (heard[-1].at - heard[0].at):.4g}")


def _told(speed: float | None, memory: int, cards: list[Document]) -> Document:
    found: Document = {"steps_per_second": speed, "memory": memory, "cards": cards}
    return {key: value for key, value in found.items() if value}

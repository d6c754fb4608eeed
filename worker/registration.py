"""This worker's entry in the list of workers: that it is alive, what it has, and whether it was asked to drain."""

import contextlib
from collections.abc import Sequence

from repro.scheduler.queue import workers
from repro.scheduler.server.connection import DriverError, Queue
from repro.stages.source import provenance
from repro.worker.abilities import MOST, Abilities
from repro.worker.known_code import KnownCode
from repro.worker.live.console import Console
from repro.worker.polling import PollingRates
from repro.worker.slots import Slots
from repro.worker.wakeup import Bell


class Registration:
    """Announced at the start and with every heartbeat.

    `numbers`: what the user calls the GPUs of the slots by; the bell is rung when the worker is asked to drain.
    """

    def __init__(
        self,
        db: Queue,
        name: str,
        slots: Slots,
        numbers: Sequence[int],
        lease: float,
        rates: PollingRates,
        console: Console,
        bell: Bell,
    ) -> None:
        self.db, self.name, self.slots, self.numbers, self.lease = db, name, slots, numbers, lease
        self.rates, self.console, self.bell = rates, console, bell
        self.is_draining = False
        self.known_code, self.abilities = KnownCode(), Abilities()
        self.code = provenance.describe_code()
        self._workers_asked = 0  # how many workers there were when it was last asked who else has our GPUs
        self._sharing: set[str] = set()  # who has, and has been warned of

    def announce(self) -> None:
        gpus, cpus, avoided = self.slots.all_gpus, self.slots.all_cpus, self.slots.avoided
        self.is_draining = workers.announce(
            self.db,
            self.name,
            gpus,
            cpus,
            self.lease,
            numbers=self.numbers,
            avoided=avoided,
            code=self.code,
            lacks=self.known_code.lacks,
            has=self.abilities.told(),
            meets=self.abilities.known_to_be_met()[:MOST],
            misses=self.abilities.not_met()[:MOST],
        )
        self.rates.workers = max(1, workers.size(self.db))
        if self.is_draining:
            self.bell.set()
        self._warn_of_sharing()

    def withdraw(self) -> None:
        """The worker leaves; what can't be said now is forgotten when its lease has passed."""
        with contextlib.suppress(DriverError):
            workers.depart(self.db, self.name)

    def _warn_of_sharing(self) -> None:
        """Warns once of each worker that was given a GPU of ours too; asks only if a worker came or left."""
        if not self.slots.all_gpus or self._workers_asked == self.rates.workers:
            return
        self._workers_asked = self.rates.workers
        shared = workers.sharing(self.db, self.slots.all_gpus)
        others = {name for names in shared.values() for name in names} - {self.name}
        if others - self._sharing:
            self.console.say(f"warning: {workers.describe_sharing(shared)}")
        self._sharing = others

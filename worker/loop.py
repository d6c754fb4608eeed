"""The worker: claim -> execute -> one transition, until it is told to stop or nothing is left."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from repro.scheduler.queue import claims, workers
from repro.scheduler.server.connection import DriverError, Queue, reachable
from repro.stages.errors import ReproError, Unreachable
from repro.stages.plain import shown
from repro.worker.abilities import Abilities
from repro.worker.attempt.executor import Executor
from repro.worker.attempt.lease_renewer import LeaseRenewer
from repro.worker.claiming import Claimer
from repro.worker.gpus import Inventory, Nvml
from repro.worker.healing import Healer
from repro.worker.interrupts import Interrupts
from repro.worker.known_code import KnownCode
from repro.worker.live.console import Console
from repro.worker.live.reporter import LiveReporter
from repro.worker.polling import CLAIM_INTERVAL, PollingRates
from repro.worker.prefetch import Prefetcher
from repro.worker.registration import Registration
from repro.worker.running import RunningAttempts
from repro.worker.searching import Searcher
from repro.worker.slots import Slots
from repro.worker.wakeup import Bell, Waker

LISTEN = 5.0  # seconds for which a worker that was idle follows the news of runs, however busy it is
TICK = 0.2  # seconds between refreshes of what is shown


@dataclass(frozen=True)
class Options:
    """When a worker leaves by itself, and the length of its leases; times in seconds.

    Attributes:
        burst: when nothing is left to do.
        max_runs: after so many runs.
        max_idle: after so long without a run.
        only_idle: GPUs on which somebody else computes are left alone as long as he does.
        labels: what its user says of it, which runs may need.
    """

    burst: bool = False
    max_runs: int | None = None
    max_idle: float | None = None
    lease: float = 30.0
    only_idle: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


class WorkerBroken(ReproError):
    """The worker itself is at fault, and leaves; its runs are somebody else's."""

    exit_code = 1


class Worker:
    """One worker process. Runs are executed in threads, one for each slot; only this loop writes their transitions."""

    def __init__(
        self,
        db: Queue,
        executor: Executor,
        slots: Slots,
        options: Options,
        console: Console,
        inventory: Inventory | None = None,
        beat: Callable[[], None] | None = None,
        name: str | None = None,
    ) -> None:
        self.db, self.executor, self.slots, self.options, self.console = db, executor, slots, options, console
        self.name = name or workers.name_here()
        self._beat = beat  # called at every turn of the loop
        inventory, lease, rates = inventory or Nvml(), options.lease, PollingRates()
        self._rates, self._bell = rates, Bell()
        self._inherits = set[str]()  # runs of dead workers that it has told it waits for
        self._claim_at = 0.0  # when to ask for a run again, should the bell not ring before
        self._claim_interval = rates.claim_interval()
        self._interrupts = Interrupts(self._bell)
        self._lease_renewer = LeaseRenewer(db, lease)
        self._known_code = KnownCode(executor.code_folders.of)
        mine = [gpu for gpu in inventory.gpus() if gpu.uuid in slots.all_gpus] if slots.all_gpus else []
        self._abilities = Abilities(options.labels, mine, rates)
        self._registration = self._register(inventory)
        knows, has = self._known_code, self._abilities
        self._claimer = Claimer(db, self.name, slots, lease, rates, inventory, options.only_idle, knows, has)
        self._searcher = Searcher(db, console)
        renewer, searcher = self._lease_renewer, self._searcher
        self._running = RunningAttempts(db, executor, slots, renewer, console, self._bell, searcher)
        self._prefetcher = Prefetcher(db, executor.store)
        self._healer = Healer(db, lease, rates, console, searcher)
        self._waker = Waker(db, self._bell, rates)
        announce, attempts = self._registration.announce, self._lease_renewer.attempts
        self._reporter = LiveReporter(db, lease, rates, inventory, announce, attempts)

    def _register(self, inventory: Inventory) -> Registration:
        slots, lease = self.slots, self.options.lease
        present = [gpu.uuid for gpu in inventory.gpus()] if slots.all_gpus else []
        numbers = [present.index(gpu) for gpu in slots.all_gpus]
        registration = Registration(self.db, self.name, slots, numbers, lease, self._rates, self.console, self._bell)
        registration.known_code, registration.abilities = self._known_code, self._abilities
        return registration

    def run(self) -> None:
        """Work until there is a reason to leave; the leases are renewed to the last."""
        self.console.say(
            f"worker {self.name}: {len(self.slots.all_gpus)} cards, {self.slots.all_cpus} places without a card; "
            f"results in {self.executor.store.url}"
        )
        self._registration.announce()
        self._lease_renewer.start()
        self._reporter.start()
        self._waker.start()
        if not self.options.burst:
            self._running.prepare()
        try:
            with self._signals():
                while self._step_or_wait_for_the_server():
                    self._wait()
        finally:
            self._close()

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return self._interrupts.handled()

    def _close(self) -> None:
        self._running.close()
        self._searcher.close()
        self._waker.stop()
        self._prefetcher.stop()
        self._lease_renewer.stop()
        self._reporter.stop()
        self._registration.withdraw()

    def _step_or_wait_for_the_server(self) -> bool:
        """Runs go on while MongoDB is away; what has ended is delivered when it is back."""
        try:
            with reachable():
                return self._step()
        except Unreachable as error:
            self.console.say(f"{error}; trying again")
            if self._claimer.is_unsure:  # a fleet's interval may be longer than a lease
                self._claim_interval = min(self._claim_interval, CLAIM_INTERVAL)
            return not self._interrupts.ask_to_hand_back

    def _step(self) -> bool:
        """Settle what ended, start what fits; False when it is time to leave."""
        if self._beat:
            self._beat()
        self._running.enforce_limits()
        self._running.settle_ended()
        if dead := next((t for t in (self._lease_renewer, self._reporter) if t.died), None):
            self._hand_back()
            raise WorkerBroken(f"the worker's thread {dead.name} died: {shown(dead.died)}; its runs were handed back")
        if self._interrupts.ask_to_hand_back:
            self._hand_back()
            return False
        self._start_what_fits()
        self._healer.heal_if_due()
        return bool(self._running) or not self._is_finished()

    def _hand_back(self) -> None:
        asked = self._interrupts.count
        self._running.hand_back(is_impatient=lambda: self._interrupts.count != asked)

    def _start_what_fits(self) -> None:
        while self._may_claim() and time.monotonic() >= self._claim_at:
            self._claimer.avoid_what_others_use(self._running.process_groups())
            if not self.slots.fitting():
                break
            if attempt := self._claimer.claim():
                self._running.start(attempt)
                self._prefetcher.another_is_next()
            else:
                self._claim_interval = self._claimer.interval()
                self._claim_at = time.monotonic() + self._claim_interval
                self._waker.listen(self._claim_interval + LISTEN)

    def _may_claim(self) -> bool:
        return not self._is_leaving() and bool(self.slots.fitting() or self.slots.avoided)

    def _is_leaving(self) -> bool:
        has_claimed_enough = self.options.max_runs is not None and self._claimer.count >= self.options.max_runs
        return self._interrupts.ask_to_leave or self._registration.is_draining or has_claimed_enough

    def _is_finished(self) -> bool:
        """Asked only while nothing runs."""
        if self._is_leaving() or self._is_idle_too_long():
            return True
        if not self.options.burst:
            return False
        self._healer.heal()
        self._searcher.wait()
        lacks, met = self._known_code.lacks, self._abilities.met(self.db)
        possible = self.slots.possible()
        return not (claims.claimable_later(self.db, possible, lacks, met) or self._is_to_inherit(possible))

    def _is_to_inherit(self, gpus: Sequence[int]) -> bool:
        """Whether a worker of this machine has died and its lease of a run that would fit here lasts a while yet."""
        run = claims.held_by(self.db, workers.gone_from_here(self.db), gpus)
        if run is not None and run["_id"] not in self._inherits:
            self._inherits.add(run["_id"])
            self.console.say(f"{run['_id']}: its worker {run['lease']['worker']} is gone; waiting for its lease to end")
        return run is not None

    def _is_idle_too_long(self) -> bool:
        idle = time.monotonic() - self._running.idle_since
        return self.options.max_idle is not None and idle > self.options.max_idle

    def _wait(self) -> None:
        """Until a run ends, or it is time to ask again."""
        if self._running:
            self.console.tick(self._running.attempts())
        rang = self._bell.wait(TICK if self._running else self._claim_interval)
        if rang and not self._running:
            time.sleep(self._rates.wakeup_delay())  # the others have heard it too
        if rang or not self._running:
            self._claim_at = 0.0
        elif not self._is_leaving():
            with contextlib.suppress(DriverError):  # the next step says that MongoDB is away
                lacks, met = self._known_code.lacks, self._abilities.known_to_be_met()
                self._prefetcher.prefetch_if_due(self.slots.possible(), lacks, met)

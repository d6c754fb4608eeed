"""The worker: claim -> execute -> one transition, until it is told to stop or nothing is left."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from repro.scheduler import runs
from repro.scheduler.queue import claims, lineage, workers
from repro.scheduler.server.connection import DriverError, Queue, reachable
from repro.stages.errors import Unreachable
from repro.worker.attempt.executor import HANDED_BACK, Attempt, Done, Executor, Failed, Faulted, Outcome, Stopped
from repro.worker.attempt.lease_renewer import Keeper
from repro.worker.gpus import Inventory, Nvml, foreign
from repro.worker.live.console import Report
from repro.worker.live.reporter import Teller
from repro.worker.polling import Pace
from repro.worker.prefetch import Prefetcher
from repro.worker.slots import Slots
from repro.worker.store import checkpoint_store
from repro.worker.wakeup import Bell, Waker

ASIDE = 10.0  # seconds for which cards are kept free for a big run, if this is not said again
LINGER = 5.0  # seconds for which a worker that was idle follows the news of runs, however busy it is
LOOK = 0.5  # seconds between looks for what others compute on our cards
TICK = 0.2  # seconds between refreshes of what is shown
GRACE = 20.0  # seconds in which a stage that is told to stop may reach its next step and leave a checkpoint


@dataclass(frozen=True)
class Options:
    """When a worker leaves by itself, and the length of its leases; times in seconds.

    Attributes:
        burst: when nothing is left to do.
        max_runs: after so many runs.
        max_idle: after so long without a run.
        only_idle: cards on which somebody else computes are left alone as long as he does.
    """

    burst: bool = False
    max_runs: int | None = None
    max_idle: float | None = None
    lease: float = 30.0
    only_idle: bool = False


class Worker:
    """One worker process. Runs are executed in threads, one a slot; only this loop writes their transitions."""

    def __init__(
        self,
        db: Queue,
        executor: Executor,
        slots: Slots,
        options: Options,
        report: Report,
        inventory: Inventory | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self.db, self.executor, self.slots, self.options, self.report = db, executor, slots, options, report
        self.inventory = inventory or Nvml()
        self._beat = beat  # called at every turn of the loop
        self.name = workers.name_here()
        self._pace = Pace()
        self.keeper = Keeper(db, options.lease)
        self._teller = Teller(db, options.lease, self._pace, self.inventory, self._announce, self.keeper.attempts)
        self._running: dict[Future[Outcome], Attempt] = {}
        self._bell = Bell()  # a run has ended, or something else is worth a look
        self._waker = Waker(db, self._bell, self._pace)
        self._prefetcher = Prefetcher(db, executor)
        self._again = self._pace.poll()  # seconds between looks for a run that fits, should the bell not ring before
        self._look_at = 0.0
        self._aside = False  # this worker keeps cards free for a run that needs more
        self._avoid_at = 0.0
        present = [card.uuid for card in self.inventory.cards()] if slots.all_cards else []
        self._numbers = [present.index(card) for card in slots.all_cards]
        self._fleet = 0  # workers, when it was last asked who else has our cards
        self._sharing: set[str] = set()  # who has, and has been told of
        self._healed_at = 0.0
        self._interrupts = 0
        self._drained = False
        self._claimed = 0
        self._busy_at = time.monotonic()
        self._token: str | None = None  # of a claim whose reply has not come

    def run(self) -> None:
        """Work until there is a reason to leave; the leases are kept to the last."""
        self.report.say(
            f"worker {self.name}: {len(self.slots.all_cards)} cards, {self.slots.all_cpus} places without a card; "
            f"results in {self.executor.store.url}"
        )
        self._announce()
        self.keeper.start()
        self._teller.start()
        self._waker.start()
        threads = ThreadPoolExecutor(self.slots.size + 1, thread_name_prefix="run")
        if not self.options.burst:
            threads.submit(self.executor.interpreter.prepare)
        try:
            with self._signals():
                while self._step_or_wait_for_the_server(threads):
                    self._wait()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            self._waker.stop()
            self._prefetcher.stop()
            self.keeper.stop()
            self._teller.stop()
            with contextlib.suppress(DriverError):
                workers.depart(self.db, self.name)

    def _announce(self) -> None:
        has, avoided = (self.slots.all_cards, self.slots.all_cpus), self.slots.avoided
        self._drained = workers.announce(self.db, self.name, *has, self.options.lease, self._numbers, avoided)
        self._pace.workers = max(1, workers.size(self.db))
        if self._drained:
            self._bell.set()
        self._tell_who_shares()

    def _tell_who_shares(self) -> None:
        """Each worker that was given a card of ours too is told of once; asked only if somebody came or left."""
        if not self.slots.all_cards or self._fleet == self._pace.workers:
            return
        self._fleet = self._pace.workers
        shared = workers.sharing(self.db, self.slots.all_cards)
        found = {name for names in shared.values() for name in names} - {self.name}
        if found - self._sharing:
            self.report.say(f"warning: {workers.describe_sharing(shared)}")
        self._sharing = found

    def _step_or_wait_for_the_server(self, threads: ThreadPoolExecutor) -> bool:
        """Runs go on while MongoDB is away; what has ended is delivered when it is back."""
        try:
            with reachable():
                return self._step(threads)
        except Unreachable as error:
            self.report.say(f"{error}; trying again")
            return not self._interrupts > 1

    def _step(self, threads: ThreadPoolExecutor) -> bool:
        """Settle what ended, start what fits; False when it is time to leave."""
        if self._beat:
            self._beat()
        self._enforce_limits()
        self._settle_ended()
        if self._interrupts > 1:
            self._hand_everything_back()
            return False
        self._start_what_fits(threads)
        self._heal_if_due()
        return bool(self._running) or not self._finished()

    def _start_what_fits(self, threads: ThreadPoolExecutor) -> None:
        while self._may_claim() and time.monotonic() >= self._look_at:
            self._avoid_what_others_use()
            if not self.slots.fitting():
                break
            if attempt := self._claim():
                self._start(threads, attempt)
            else:
                self._again = min(self._pace.poll(), ASIDE / 3) if self._aside else self._pace.poll()
                self._look_at = time.monotonic() + self._again
                self._waker.listen(self._again + LINGER)

    def _may_claim(self) -> bool:
        return not self._leaving() and bool(self.slots.fitting() or self.slots.avoided)

    def _avoid_what_others_use(self) -> None:
        # Not while a claim may have been made for cards that were free when it was asked for.
        if not self.options.only_idle or self._token or time.monotonic() < self._avoid_at:
            return
        self._avoid_at = time.monotonic() + LOOK
        groups = {attempt.child.pid for attempt in self._running.values() if attempt.child and attempt.child.pid}
        self.slots.avoid(foreign(self.inventory, self.slots.all_cards, groups, self.slots.used))

    def _leaving(self) -> bool:
        enough = self.options.max_runs is not None and self._claimed >= self.options.max_runs
        return bool(self._interrupts) or self._drained or enough

    def _idle_too_long(self) -> bool:
        return self.options.max_idle is not None and time.monotonic() - self._busy_at > self.options.max_idle

    def _finished(self) -> bool:
        if self._leaving() or self._idle_too_long():
            return True
        if not self.options.burst:
            return False
        self._heal()
        return not claims.claimable_later(self.db, self.slots.possible())

    def _heal_if_due(self) -> None:
        if time.monotonic() - self._healed_at >= self._pace.heal():
            self._healed_at = time.monotonic()
            self._heal()

    def _heal(self) -> None:
        """What a worker that died has left undone."""
        runs.shorten_waits(self.db, self.options.lease)
        if expired := runs.expire(self.db):
            self.report.expired(expired)
        runs.release_children(self.db, lineage.ready_sources(self.db))

    def _claim(self) -> Attempt | None:
        # If the reply to the last claim was lost, that claim may still have been made.
        found = claims.held_with(self.db, self._token) if self._token else None
        if found is None:
            self._token = runs.new_token()
            fitting, draw = self._claimable(), self._pace.draw()
            found = runs.claim(self.db, self.name, fitting, self.options.lease, self._token, draw)
        sources = lineage.sources(self.db, found) if found else {}
        self._token = None
        if found is None:
            return None
        self._claimed += 1
        self._pace.claimed(found)
        return Attempt(found, self.slots.take(found["gpus"]), sources)

    def _claimable(self) -> list[int]:
        """The GPU counts to claim now. While some cards are busy and the first in line needs more than are free,
        smaller runs must not keep taking the cards that it waits for: one worker keeps its own free for it."""
        free, reach = self.slots.fitting(), self.slots.within_reach()
        self._aside = False
        if not any(free) or not self.slots.used or reach == 1:
            return free
        first = claims.first_in_line(self.db, range(1, reach + 1))
        too_big = first is not None and first["gpus"] not in free
        self._aside = first is not None and too_big and runs.reserve(self.db, first["_id"], self.name, ASIDE)
        return [count for count in free if count == 0] if self._aside else free

    def _start(self, threads: ThreadPoolExecutor, attempt: Attempt) -> None:
        self.keeper.add(attempt)
        self.report.started(attempt)
        self._prefetcher.another_is_next()
        future = threads.submit(self.executor.execute, attempt)
        self._running[future] = attempt
        future.add_done_callback(lambda _: self._bell.set())

    def _enforce_limits(self) -> None:
        for attempt in self._running.values():
            if error := attempt.over_limit(time.monotonic()):
                attempt.stop(Failed(error))

    def _settle_ended(self) -> None:
        self._bell.clear()
        for future in [future for future in self._running if future.done()]:
            self._settle(self._running[future], future.result())
            del self._running[future]

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write what came of an attempt, then let go of it: the lease last."""
        outcome = settle(self.db, attempt, outcome)
        self.keeper.remove(attempt)
        self.slots.give_back(attempt.slot)
        self._busy_at = time.monotonic()
        self.report.ended(attempt, outcome, self._busy_at - attempt.began)
        if isinstance(outcome, Done) and attempt.checkpoint is not None:
            dead = self.executor.store, outcome.location
            threading.Thread(target=checkpoint_store.clear, args=dead, daemon=True).start()

    def _hand_everything_back(self) -> None:
        """Each stage may leave a checkpoint at its next step, unless a user has no patience."""
        asked, until = self._interrupts, time.monotonic() + GRACE
        for attempt in self._running.values():
            attempt.leave()
        while self._interrupts == asked and time.monotonic() < until and wait(self._running, TICK).not_done:
            pass
        for future, attempt in self._running.items():
            attempt.stop(HANDED_BACK)
            self._settle(attempt, future.result())
        self._running.clear()

    def _wait(self) -> None:
        """Until a run ends, or it is time to look again."""
        if self._running:
            self.report.tick(list(self._running.values()))
        rang = self._bell.wait(TICK if self._running else self._again)
        if rang and not self._running:
            time.sleep(self._pace.spread())  # the others have heard it too
        if rang or not self._running:
            self._look_at = 0.0
        elif not self._leaving():
            with contextlib.suppress(DriverError):  # the next step says that MongoDB is away
                self._prefetcher.look(self.slots.possible())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 2 if number == signal.SIGTERM else 1
        self._bell.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C: claim no more, finish, leave. Again, or SIGTERM: hand the runs back and leave."""
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def settle(db: Queue, attempt: Attempt, outcome: Outcome) -> Outcome:
    """The one transition that an outcome means; returns what it came to."""
    name, token = attempt.name, attempt.token
    match outcome:
        case Done(location=location, result=result):
            accepted = runs.complete(db, name, token, location, result)
            if accepted:
                runs.release_children(db, [name])
        case Failed(error=error):
            accepted = runs.fail(db, name, token, error, checkpoint=attempt.checkpoint)
        case Faulted(error=error):
            accepted = runs.fail(db, name, token, error, again=True, checkpoint=attempt.checkpoint)
        case Stopped(hand_back=True):
            accepted = runs.hand_back(db, name, token, attempt.checkpoint)
        case Stopped():
            return outcome
    return outcome if accepted else Stopped("its lease was taken; the result was dropped")

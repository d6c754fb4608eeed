"""The attempts that this worker executes now: started in threads, stopped at their limits, settled when they end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from repro.scheduler.server.connection import Queue
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.executor import Executor
from repro.worker.attempt.lease_renewer import LeaseRenewer
from repro.worker.attempt.outcome import HANDED_BACK, Done, Failed, Outcome
from repro.worker.live.console import Console
from repro.worker.searching import Searcher
from repro.worker.settlement import settle
from repro.worker.slots import Slots
from repro.worker.store import checkpoint_store
from repro.worker.wakeup import Bell

TICK = 0.2  # seconds between looks whether a user's patience has ended
GRACE = 20.0  # seconds in which a stage that is told to stop may reach its next step and leave a checkpoint


class RunningAttempts:
    """Each is executed in a thread of its own; the loop's thread alone calls these methods.

    The bell rings whenever one has ended.
    """

    def __init__(
        self,
        db: Queue,
        executor: Executor,
        slots: Slots,
        lease_renewer: LeaseRenewer,
        console: Console,
        bell: Bell,
        searcher: Searcher,
    ) -> None:
        self.db, self.executor, self.slots = db, executor, slots
        self.lease_renewer, self.console, self.bell, self.searcher = lease_renewer, console, bell, searcher
        self.idle_since = time.monotonic()  # means nothing while attempts run
        self._attempts: dict[Future[Outcome], Attempt] = {}
        self._threads = ThreadPoolExecutor(slots.size + 1, thread_name_prefix="run")

    def __len__(self) -> int:
        return len(self._attempts)

    def attempts(self) -> list[Attempt]:
        return list(self._attempts.values())

    def process_groups(self) -> set[int]:
        """Of the stages that run now."""
        return {pid for attempt in self.attempts() if attempt.child and (pid := attempt.child.pid)}

    def prepare(self) -> None:
        """Have the fork server ready before the first run."""
        self._threads.submit(self.executor.fork_server.prepare)

    def start(self, attempt: Attempt) -> None:
        self.lease_renewer.add(attempt)
        self.console.started(attempt)
        future = self._threads.submit(self.executor.execute, attempt)
        self._attempts[future] = attempt
        future.add_done_callback(lambda _: self.bell.set())

    def enforce_limits(self) -> None:
        for attempt in self._attempts.values():
            if error := attempt.over_limit(time.monotonic()):
                attempt.stop(Failed(error))

    def settle_ended(self) -> None:
        self.bell.clear()
        for future in [future for future in self._attempts if future.done()]:
            self._settle(self._attempts[future], future.result())
            del self._attempts[future]

    def hand_back(self, is_impatient: Callable[[], bool]) -> None:
        """Hand all of them back. Each stage may leave a checkpoint at its next step, unless the user is impatient."""
        until = time.monotonic() + GRACE
        for attempt in self._attempts.values():
            attempt.leave()
        while not is_impatient() and time.monotonic() < until and wait(self._attempts, TICK).not_done:
            pass
        for future, attempt in self._attempts.items():
            attempt.stop(HANDED_BACK)
            self._settle(attempt, future.result())
        self._attempts.clear()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write what came of an attempt, then let go of it: the lease last."""
        outcome = settle(self.db, attempt, outcome)
        self.lease_renewer.remove(attempt)
        self.slots.give_back(attempt.slot)
        self.idle_since = time.monotonic()
        self.console.ended(attempt, outcome, self.idle_since - attempt.began)
        self.searcher.ended(attempt)
        if isinstance(outcome, Done):
            dead = [outcome.location] if attempt.checkpoint is not None and not attempt.is_rung else []
            for location in [*dead, *attempt.shorter]:
                args = self.executor.store, location
                threading.Thread(target=checkpoint_store.clear, args=args, daemon=True).start()

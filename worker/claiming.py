"""Which run this worker claims next: what its free slots allow, and what they must be kept free for."""

import time
from collections.abc import Collection

from repro.scheduler import runs
from repro.scheduler.queue import claims, lineage
from repro.scheduler.runs import RunDocument
from repro.scheduler.server.connection import Queue
from repro.worker.abilities import Abilities
from repro.worker.attempt.attempt import Attempt
from repro.worker.gpus import Inventory, used_by_others
from repro.worker.known_code import KnownCode
from repro.worker.polling import PollingRates
from repro.worker.slots import Slots

RESERVATION = 10.0  # seconds for which GPUs are kept free for a big run, if this is not said again
LOOK = 0.5  # seconds between looks for what others compute on our GPUs


class Claimer:
    """Makes the claims of one worker, one at a time.

    `only_idle`: GPUs on which somebody else computes are left alone as long as he does.
    """

    def __init__(
        self,
        db: Queue,
        worker: str,
        slots: Slots,
        lease: float,
        rates: PollingRates,
        inventory: Inventory,
        only_idle: bool,
        known_code: KnownCode | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        self.known_code, self.abilities = known_code or KnownCode(), abilities or Abilities()
        self.db, self.worker, self.slots, self.lease = db, worker, slots, lease
        self.rates, self.inventory, self.only_idle = rates, inventory, only_idle
        self.count = 0  # of the runs claimed so far
        self._token: str | None = None  # of a claim whose reply has not come
        self._asked_at = 0.0  # for it
        self._has_reservation = False  # this worker keeps GPUs free for a run that needs more
        self._look_at = 0.0

    def claim(self) -> Attempt | None:
        """The next run that fits, with a slot for it; None if there is none.

        Raises:
            DriverError: MongoDB is away; the next call finds out whether the claim was made all the same.
        """
        while run := self._claimed_run():
            if lack := self.known_code.lack_of(run):
                runs.hand_back(self.db, run["_id"], run["lease"]["token"], why=f"{self.worker} {lack}")
                self._token = None
                continue
            break
        sources = lineage.sources(self.db, run) if run else {}
        self._token = None
        if run is None:
            return None
        self.count += 1
        self.rates.record_claim(run)
        shorter = lineage.shorter(self.db, run)
        return Attempt(run, self.slots.take(run["gpus"]), sources, shorter, asked_at=self._asked_at)

    @property
    def is_unsure(self) -> bool:
        """Whether a claim may have been made whose reply has not come: then its lease runs."""
        return self._token is not None

    def interval(self) -> float:
        """Seconds until it is worth asking again."""
        interval = self.rates.claim_interval()
        return min(interval, RESERVATION / 3) if self._has_reservation else interval

    def avoid_what_others_use(self, groups: Collection[int]) -> None:
        """`groups`: the process groups of our own runs."""
        # Not while a claim may have been made for GPUs that were free when it was asked for.
        if not self.only_idle or self._token or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK
        self.slots.avoid(used_by_others(self.inventory, self.slots.all_gpus, groups, self.slots.used))

    def _claimed_run(self) -> RunDocument | None:
        # If the reply to the last claim was lost, that claim may still have been made.
        run = claims.held_with(self.db, self._token) if self._token else None
        if run is not None:
            return run
        self._token, self._asked_at = runs.new_token(), time.monotonic()
        claimable, spread = self._claimable(), self.rates.claim_spread()
        lacks, met = self.known_code.lacks, self.abilities.met(self.db)
        return runs.claim(self.db, self.worker, claimable, self.lease, self._token, spread, lacks, met)

    def _claimable(self) -> list[int]:
        """The GPU counts to claim now. While some GPUs are busy and the first in line needs more than are free,
        smaller runs must not keep taking the GPUs that it waits for: one worker keeps its own free for it."""
        free, reach = self.slots.fitting(), self.slots.within_reach()
        self._has_reservation = False
        if not any(free) or not self.slots.used or reach == 1:
            return free
        lacks, met = self.known_code.lacks, self.abilities.met(self.db)
        first = claims.first_in_line(self.db, range(1, reach + 1), lacks, met)
        if first is None or first["gpus"] in free:
            return free
        self._has_reservation = runs.reserve(self.db, first["_id"], self.worker, RESERVATION)
        return [count for count in free if count == 0] if self._has_reservation else free

"""How often a worker looks for work and tells of its runs: the more workers there are, the more seldom each, so that
all of them together ask no more of the server than some hundred do."""

import random
import time

from repro.scheduler.runs import ClaimSpread, RunDocument

POLL, POLLS = 0.5, 100.0  # an idle worker's looks for a run: seconds between two at least; of all a second at most
HEAL, HEALS = 1.0, 20.0  # the same for looks for what dead workers left
TELL, TELLS = 2.0, 200.0  # the same for rounds of telling what its runs have printed
LISTENERS = 20  # workers that follow the news of runs, on average at most: each costs the server work at every write
SPREAD = 0.0004  # seconds a listener, over which those that one event wakes spread their claims
OFTEN = 1.0  # seconds: who claims again sooner has short runs, and is likely to meet the others at the head of the line
AMONG = 16  # runs at the head of the line of which such workers draw one each, at most


class Pace:
    """One worker's, told with every heartbeat how many workers there are."""

    def __init__(self) -> None:
        self.workers = 1
        self._lot = random.random()
        self._claimed_at, self._priority = -OFTEN, 0

    def poll(self) -> float:
        """Seconds until the next look of an idle worker."""
        return _jittered(max(POLL, self.workers / POLLS))

    def heal(self) -> float:
        """Seconds between looks for what dead workers left."""
        return _jittered(max(HEAL, self.workers / HEALS))

    def tell(self) -> float:
        """Seconds between pieces of a running run's log, and points of its curve."""
        return max(TELL, self.workers / TELLS)

    @property
    def listens(self) -> bool:
        """Whether this worker is one of those that follow the news; of a small fleet all do."""
        return self._lot * self.workers < LISTENERS

    def spread(self) -> float:
        """Seconds from news of a run to a look for it."""
        return random.uniform(0, SPREAD * min(self.workers, LISTENERS))

    def claimed(self, run: RunDocument) -> None:
        self._claimed_at, self._priority = time.monotonic(), run["priority"]

    def draw(self) -> ClaimSpread | None:
        """How to claim next: of a worker that is alone, or that claims seldom, strictly in order."""
        if self.workers == 1 or time.monotonic() - self._claimed_at > OFTEN:
            return None
        return ClaimSpread(self._priority, min(self.workers, AMONG))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)

"""How often a worker asks the server for runs, and sends it news of its own: the more workers there are, the less
often each one does, so that all of them together ask no more of the server than some hundred do."""

import random
import time

from repro.scheduler.runs import ClaimSpread, RunDocument

# Each pair: seconds between two times of one worker at least, and times a second of all workers together at most.
CLAIM_INTERVAL, CLAIMS_A_SECOND = 0.5, 100.0  # an idle worker asks for a run
HEALING_INTERVAL, HEALINGS_A_SECOND = 1.0, 20.0  # a worker looks for what dead workers left
REPORT_INTERVAL, REPORTS_A_SECOND = 2.0, 200.0  # a worker sends what its runs have printed, and their figures
LISTENERS = 20  # workers that follow the news of runs, on average at most: each costs the server work at every write
WAKEUP_SPREAD = 0.0004  # seconds a listener, over which those that one event wakes spread their claims
FREQUENT = 1.0  # seconds: who claims again sooner has short runs, and probably meets the others at the head of the line
SPREAD_OVER = 16  # runs at the head of the line over which such workers spread their claims, at most


class PollingRates:
    """The rates of one worker, which hears with every heartbeat how many workers there are."""

    def __init__(self) -> None:
        self.workers = 1
        self._share = random.random()  # which part of all workers this one belongs to, drawn once
        self._claimed_at, self._priority = -FREQUENT, 0

    def claim_interval(self) -> float:
        """Seconds until an idle worker asks for a run again."""
        return _jittered(max(CLAIM_INTERVAL, self.workers / CLAIMS_A_SECOND))

    def healing_interval(self) -> float:
        """Seconds until a worker looks again for what dead workers left."""
        return _jittered(max(HEALING_INTERVAL, self.workers / HEALINGS_A_SECOND))

    def report_interval(self) -> float:
        """Seconds between two pieces of a running run's log, and between two points of its curve."""
        return max(REPORT_INTERVAL, self.workers / REPORTS_A_SECOND)

    @property
    def follows_news(self) -> bool:
        """Whether this worker is one of those that follow the news; where there are few workers all do."""
        return self._share * self.workers < LISTENERS

    def wakeup_delay(self) -> float:
        """Seconds from news of a run to the claim."""
        return random.uniform(0, WAKEUP_SPREAD * min(self.workers, LISTENERS))

    def record_claim(self, run: RunDocument) -> None:
        self._claimed_at, self._priority = time.monotonic(), run["priority"]

    def claim_spread(self) -> ClaimSpread | None:
        """How to claim next; None, strictly in order, for a worker that is alone or that seldom claims."""
        if self.workers == 1 or time.monotonic() - self._claimed_at > FREQUENT:
            return None
        return ClaimSpread(self._priority, min(self.workers, SPREAD_OVER))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)

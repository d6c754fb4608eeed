"""The engine: which jobs a search has, from its config and the results alone.

Trials are proposed from earlier results, and earlier is what a *virtual* clock says. On it `lag` workers compute, and
every job takes what it has to compute: with rungs its epochs, less those that its trial has behind it on the rung
below, since it goes on from there; without rungs 1. Who really computes a job, how long that takes and who ends first
changes nothing: the clock does not pass the end of a job before its result is in. So a trial's values follow from the
results before it, a result follows from its config (R6), and by induction the whole search follows from its config.

Runs are compared on rungs by asynchronous successive halving (Li et al. 2020, A System for Massively Parallel
Hyperparameter Tuning): a worker that is free takes the best trial that is among the first 1/eta of its rung and has
not gone on yet, from the highest rung down; if there is none, a new trial.

A stop rule, and the last trial, only mean that nothing more begins: what has begun on the clock ends and counts.
Otherwise it would depend on the order of finishing what the search has in the end.
"""

import heapq
import math
from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from repro.scheduler.search.samplers import sampler_of
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.trials import Job, Key, Sampler, Trial
from repro.stages.config import Config, canonical

WORST = math.nan  # the result of a run whose config is at fault; any result that is not finite counts as this
ENOUGH = 10  # trials on a rung from which on samplers compare by its results, and not only by those of the rung below
SOURCE: Key = (0, None)
STOPS = ("target", "patience", "budget")  # reasons for which no trial goes on from its rung, either

Place = tuple[bool, float, int]  # among the trials of a rung: whether it has failed, its result, the lower the better,
# and its number


@dataclass(frozen=True)
class Replay:
    """A search as far as the results take it.

    Attributes:
        jobs: all that have begun on the clock, in the order in which they did; without the source.
        waits: those that have no result, in the order in which the clock needs them: it stands at the first. At the
            beginning that is the source.
        over: nothing is to come any more.
        reason: why nothing more begins: "trials" (all there are), "space" (no other values), "target", "patience" or
            "budget"; None as long as something does.
        best: of all whole runs that have ended on the clock; the source may be it. None if none has a finite result.
        cost: of all jobs that have begun: epochs with rungs, else jobs.
    """

    jobs: tuple[Job, ...]
    waits: tuple[Job, ...]
    over: bool
    reason: str | None
    best: Job | None
    cost: int

    @property
    def winner(self) -> Job | None:
        """The best of all whole runs, once the search is over; of equal ones the first trial."""
        return self.best if self.over else None


def replay(
    search: Search,
    base: Config,
    results: Mapping[Key, float],
    known: Mapping[int, Config],
    sampler: Sampler | None = None,
) -> Replay:
    """The search from its beginning to where a result is missing. The arguments are all that it follows from.

    Args:
        base: the source's values of the parameters, as far as it is known, and with rungs its `epochs`.
        results: (trial, rung) -> the metric, or WORST. A run that has failed by accident has none.
        known: trial -> its values, as they were proposed before; they are not proposed again, which takes time.
            Without them all are, and are the same: see `differences`. Of the other sources (-1, -2...) those they have.
        sampler: another one than the config names.
    """
    clock = _Clock(search, base, results, known, sampler or sampler_of(search))
    given = [Job(-number, None, {}) for number in range(len(search.others) + 1)]
    if missing := tuple(job for job in given if job.key not in results):
        return Replay((), missing, False, None, None, 0)
    clock.run()
    return clock.replay()


def differences(search: Search, base: Config, results: Mapping[Key, float], known: Mapping[int, Config]) -> list[int]:
    """An audit: the trials whose values would be proposed otherwise today, from the same results before them."""
    given = {trial: values for trial, values in known.items() if trial < 0}
    proposed = {job.trial: job.values for job in replay(search, base, results, given).jobs}
    return [
        trial
        for trial, values in sorted(known.items())
        if trial > 0
        if trial not in proposed or canonical(proposed[trial]) != canonical(values)
    ]


class _Clock:
    """The virtual clock, its workers, and what has ended on it."""

    def __init__(
        self,
        search: Search,
        base: Config,
        results: Mapping[Key, float],
        known: Mapping[int, Config],
        sampler: Sampler,
    ) -> None:
        self._search, self._base, self._results = search, base, results
        self._known, self._sampler = known, sampler
        self._rungs: list[int | None] = [*search.rungs, None]
        self._now = self._cost = 0
        self._under_way: list[tuple[int, int, Job]] = []  # a heap: when it ends, which trial
        self._jobs: list[Job] = []
        self._values: dict[int, Config] = {}  # of each trial
        self._ended: list[dict[int, float]] = [{} for _ in self._rungs]  # of each rung: trial -> its result
        self._order: list[list[Place]] = [[] for _ in self._rungs]  # of each rung, the best first
        self._gone_on: list[set[int]] = [set() for _ in self._rungs]  # of each rung
        self._best: Job | None = None
        self._without_better = 0  # whole runs in a row
        self._reason: str | None = None

    def run(self) -> None:
        self._values[0] = {key: value for key, value in self._base.items() if key in self._search.choices}
        self._values |= {-number: self._known.get(-number, {}) for number in range(1, len(self._search.others) + 1)}
        for trial in tuple(self._values):
            self._end(Job(trial, None, {}))
        self._begin()
        while self._under_way and self._under_way[0][-1].key in self._results:
            self._now, _, job = heapq.heappop(self._under_way)
            self._end(job)
            self._begin()

    def replay(self) -> Replay:
        waits = tuple(job for _, _, job in sorted(self._under_way) if job.key not in self._results)
        return Replay(tuple(self._jobs), waits, not self._under_way, self._reason, self._best, self._cost)

    def _begin(self) -> None:
        """Give each free worker a job, while there are any."""
        while len(self._under_way) < self._search.lag and (job := self._next()):
            cost = self._cost_of(job)
            if self._search.budget is not None and self._cost + cost > self._search.budget:
                self._reason = "budget"
                return
            if job.trial in self._values:
                self._gone_on[self._rungs.index(job.rung) - 1].add(job.trial)
            self._values[job.trial] = job.values
            self._cost += cost
            self._jobs.append(job)
            heapq.heappush(self._under_way, (self._now + cost, job.trial, job))

    def _next(self) -> Job | None:
        if self._reason in STOPS:
            return None
        return next(self._going_on(), None) or self._new() or self._last()

    def _going_on(self) -> Iterator[Job]:
        """The trials that go on, from the highest rung down, the best first."""
        for level in reversed(range(len(self._rungs) - 1)):
            first = islice(self._order[level], len(self._order[level]) // self._search.eta)
            for has_failed, _, trial in first:
                if not has_failed and trial not in self._gone_on[level]:
                    yield Job(trial, self._rungs[level + 1], self._values[trial])

    def _new(self) -> Job | None:
        trial = len(self._values) - len(self._search.others)
        if trial > self._search.trials or self._reason == "space":
            self._reason = self._reason or "trials"
            return None
        values = self._known.get(trial)
        if values is None:
            values = self._sampler.propose(trial, self._ranked(), self._in_flight())
        if values is None:
            self._reason = "space"
            return None
        return Job(trial, self._rungs[0], values)

    def _last(self) -> Job | None:
        """However few trials there are, the best of them goes on to the end, once nothing else is to be done."""
        if self._under_way or any(trial > 0 for trial in self._ended[-1]):
            return None
        level = max((level for level, ended in enumerate(self._ended[:-1]) if ended), default=None)
        if level is None:
            return None
        has_failed, _, best = self._order[level][0]
        return None if has_failed else Job(best, self._rungs[level + 1], self._values[best])

    def _end(self, job: Job) -> None:
        level, result = self._rungs.index(job.rung), self._results[job.key]
        self._ended[level][job.trial] = result
        insort(self._order[level], self._place(job.trial, result))
        if job.rung is None:
            self._end_whole(job)

    def _end_whole(self, job: Job) -> None:
        has_failed, _, best = self._order[-1][0]
        if best == job.trial and not has_failed:
            self._best, self._without_better = job, 0
        elif job.trial > 0:
            self._without_better += 1
        if self._is_reached():
            self._reason = "target"
        elif self._without_better == self._search.patience and self._reason not in STOPS:
            self._reason = "patience"

    def _is_reached(self) -> bool:
        target, best = self._search.target, self._best
        if target is None or best is None:
            return False
        result = self._ended[-1][best.trial]
        return result <= target if self._search.minimize else result >= target

    def _cost_of(self, job: Job) -> int:
        if not self._search.rungs:
            return 1
        level = self._rungs.index(job.rung)
        epochs = self._base["epochs"] if job.rung is None else job.rung
        before = self._rungs[level - 1] if level else 0
        assert isinstance(epochs, int)
        assert before is not None
        return int(epochs) - before

    def _place(self, trial: int, result: float) -> Place:
        if not math.isfinite(result):
            return True, 0.0, trial
        return False, result if self._search.minimize else -result, trial

    def _ranked(self) -> list[Trial]:
        """The trials that have a result, as a sampler sees them.

        Who has come to a higher rung is before who has not, and there they go by its result; but a rung counts only
        once so many have ended there that the comparison says something (as in BOHB, Falkner et al. 2018). Without
        any rung that counts, the lowest does. The sources have results on the highest alone, and are the last where
        that does not count.
        """
        counted = [level for level, ended in enumerate(self._ended) if level == 0 or len(ended) >= ENOUGH]
        failed = {trial for ended in self._ended for trial, result in ended.items() if not math.isfinite(result)}
        ranked = dict[int, None]()
        for level in reversed(counted):
            ranked |= {trial: None for _, _, trial in self._order[level] if trial not in failed and trial not in ranked}
        given = range(0, -len(self._search.others) - 1, -1)
        ranked |= {trial: None for trial in given if trial not in failed and trial not in ranked}
        unfit = (Trial(trial, self._values[trial], False) for trial in sorted(failed))
        return [*(Trial(trial, self._values[trial]) for trial in ranked), *unfit]

    def _in_flight(self) -> list[Trial]:
        """Those without any result: who goes on from a rung is known to be good there."""
        has_result = {trial for ended in self._ended for trial in ended}
        return [Trial(trial, values) for trial, values in sorted(self._values.items()) if trial not in has_result]

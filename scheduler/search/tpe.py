"""The tree-structured Parzen estimator (Bergstra et al. 2011), multivariate (Falkner et al. 2018, BOHB).

The best trials are one cloud of points, all others another, those in flight among the others, so that nobody looks
twice in one place. Of candidates drawn from the first cloud the one is proposed that lies most in the first and least
in the second. Only the order of results counts, so their last bits do not.
"""

from collections.abc import Sequence
from math import ceil

from repro.scheduler.configs.draws import Draws
from repro.scheduler.search.parzen import Parzen
from repro.scheduler.search.space import Point, Space
from repro.scheduler.search.spread import Spread
from repro.scheduler.search.trials import Trial
from repro.stages.config import Config

START = 10  # results from which on it is asked; before, points are spread evenly
BEST = 0.1  # of all results: how many make the first cloud
MOST_BEST = 25
CANDIDATES = 24
DRAWN = 4 * CANDIDATES  # until there are so many that were not tried


class Tpe:
    """A sampler, for one search; see `trials.Sampler`."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._spread = Spread(len(space.axes), seed)
        self._points: dict[int, Point | None] = {}

    def propose(self, trial: int, ranked: Sequence[Trial], in_flight: Sequence[Trial]) -> Config | None:
        source = Draws(self._seed, trial)
        fit, unfit = self._of([t for t in ranked if t.is_fit]), self._of([t for t in ranked if not t.is_fit])
        flying = self._of(in_flight)
        tried = {*fit, *unfit, *flying}
        point = None
        if len(fit) + len(unfit) < START or not fit:
            spread = self._space.rounded(self._spread.at(trial))
            point = spread if spread not in tried else None
        else:
            count = min(ceil(BEST * (len(fit) + len(unfit))), MOST_BEST)
            good, bad = fit[:count], [*fit[count:], *unfit, *flying]
            point = self._best(Parzen(self._space, good), Parzen(self._space, bad), tried, source)
        point = point or self._space.fresh(source, tried)
        return self._space.at(point) if point else None

    def _best(self, good: Parzen, bad: Parzen, tried: set[Point], source: Draws) -> Point | None:
        """Of equal ones the first that was drawn."""
        candidates = dict[Point, float]()
        for _ in range(DRAWN):
            point = good.draw(source)
            if point not in tried and point not in candidates:
                candidates[point] = good.density(point) / bad.density(point)
            if len(candidates) == CANDIDATES:
                break
        return max(candidates, key=lambda point: candidates[point], default=None)

    def _of(self, trials: Sequence[Trial]) -> list[Point]:
        """Where these trials lie, without the source if it lies outside of the space."""
        for trial in trials:
            if trial.number not in self._points:
                self._points[trial.number] = self._space.point(trial.values)
        found = [self._points[trial.number] for trial in trials]
        return [point for point in found if point is not None]

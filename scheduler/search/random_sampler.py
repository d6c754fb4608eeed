"""Random search: each trial evenly from the space, none twice."""

from collections.abc import Sequence

from repro.scheduler.configs.draws import Draws
from repro.scheduler.search.space import Space
from repro.scheduler.search.trials import Trial
from repro.stages.config import Config


class Random:
    """A sampler, for one search; see `trials.Sampler`."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def propose(self, trial: int, ranked: Sequence[Trial], in_flight: Sequence[Trial]) -> Config | None:
        points = (self._space.point(other.values) for other in (*ranked, *in_flight))
        tried = {point for point in points if point is not None}
        point = self._space.fresh(Draws(self._seed, trial), tried)
        return self._space.at(point) if point else None

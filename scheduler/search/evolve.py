"""Crosses and mutations of the best, for a config is nearly a genome (R17).

A child has each parameter from one of two parents, drawn anew for every parameter; then each mutates with a small
chance, to any place of its axis. (Uniform crossover: Syswerda 1989, Uniform Crossover in Genetic Algorithms.)
"""

from collections.abc import Sequence

from repro.scheduler.configs.draws import Draws
from repro.scheduler.search.space import Point, Space
from repro.scheduler.search.trials import Trial
from repro.stages.config import Config

TRIES = 200  # crosses until one is new; after that a point that is drawn evenly


class Evolve:
    """A sampler, for one search; see `trials.Sampler`.

    Args:
        survivors: how many of the best are parents.
        mutate: the chance with which each parameter of a child mutates.
    """

    def __init__(self, space: Space, seed: int, survivors: int, mutate: float) -> None:
        self._space, self._seed, self._survivors, self._mutate = space, seed, survivors, mutate

    def propose(self, trial: int, ranked: Sequence[Trial], in_flight: Sequence[Trial]) -> Config | None:
        source = Draws(self._seed, trial)
        points = {other.number: self._space.point(other.values) for other in (*ranked, *in_flight)}
        tried = {point for point in points.values() if point is not None}
        fit = [points[other.number] for other in ranked if other.is_fit]
        parents = [point for point in fit if point is not None][: self._survivors]
        point = self._cross(parents, tried, source) or self._space.fresh(source, tried)
        return self._space.at(point) if point else None

    def _cross(self, parents: Sequence[Point], tried: set[Point], source: Draws) -> Point | None:
        if len(parents) < 2:
            return None
        for _ in range(TRIES):
            pair = source.sample(parents, 2)
            child = self._space.rounded([self._gene(genes, source) for genes in zip(*pair, strict=True)])
            if child not in tried:
                return child
        return None

    def _gene(self, genes: Sequence[float], source: Draws) -> float:
        """All is drawn in any case: what is drawn for the next parameter does not depend on it."""
        inherited, fate, other = source.choice(genes), source.unit(), source.unit()
        return other if fate < self._mutate else inherited

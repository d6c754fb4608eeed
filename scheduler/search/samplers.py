"""Samplers by their names. A better one is another name: the old ones stay as they are, for ever (R1, R11)."""

from collections.abc import Callable

from repro.scheduler.search.evolve import Evolve
from repro.scheduler.search.random_sampler import Random
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.space import Space
from repro.scheduler.search.tpe import Tpe
from repro.scheduler.search.trials import Sampler


def sampler_of(search: Search) -> Sampler:
    if search.sampler == "evolve":
        return Evolve(search.space, search.seed, search.survivors, search.mutate)
    kinds: dict[str, Callable[[Space, int], Sampler]] = {"tpe": Tpe, "random": Random}
    return kinds[search.sampler](search.space, search.seed)

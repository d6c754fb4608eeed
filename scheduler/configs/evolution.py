"""The config of a search that crosses and mutates some runs: its space is what they differ in (R17)."""

from collections.abc import Sequence

from repro.scheduler.configs import breeding
from repro.scheduler.configs.comparison import Subject
from repro.scheduler.configs.dendrogram import ORDERS, is_number
from repro.stages.config import Config, Scalar, Value
from repro.stages.errors import ReproError

NEVER = (*breeding.FIXED, "seed")  # inherited; the best of several seeds is luck


def search(
    population: Sequence[Subject],
    metric: str,
    trials: int,
    lag: int,
    minimize: bool = False,
    survivors: int = 3,
    mutate: float = 0.2,
    seed: int = 0,
) -> Config:
    """The config. The first of the runs lends its own to all children, for keys in which they do not differ.

    Raises:
        ReproError: they are fewer than two, of different stages, or differ in no key that could be crossed.
    """
    breeding.check_parents(population)
    space = _space(population)
    if not space:
        raise ReproError("the runs differ in no key that could be crossed; add runs that do")
    config: Config = {"stage": "search", "source": [one.name for one in population], "metric": metric}
    config |= {"minimize": True} if minimize else {}
    config |= {f"space_{key}": choice for key, choice in space.items()}
    return config | {
        **{"sampler": "evolve", "survivors": survivors, "mutate": mutate, "trials": trials, "lag": lag, "seed": seed}
    }


def _space(population: Sequence[Subject]) -> dict[str, Value]:
    """Key -> range of the numbers, or list of the other values, that the runs have said or used, where they differ."""
    seen = breeding.values_seen(population)
    choices = {key: _choice(values) for key, values in seen.items() if key not in NEVER}
    return {key: choice for key, choice in choices.items() if choice is not None}


def _choice(found: Sequence[Value]) -> Value:
    numbers = [value for value in found if isinstance(value, int | float) and is_number(value)]
    if len(found) < 2:
        return None
    if len(numbers) < len(found):
        scalars: list[Scalar] = [value for value in found if not isinstance(value, list) and value is not None]
        return scalars if len(scalars) > 1 else None
    low, high = min(numbers), max(numbers)
    if low == high:  # 1 and 1.0
        return None
    is_wide = low > 0 and high / low >= ORDERS and not all(isinstance(number, int) for number in numbers)
    return f"{'log:' if is_wide else ''}{low!r}..{high!r}"

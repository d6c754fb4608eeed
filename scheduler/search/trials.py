"""Trials and jobs, what they are called, and what a sampler has to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from repro.scheduler.search.search_config import Search
from repro.stages import config as configs
from repro.stages.config import Config

Key = tuple[int, int | None]  # a trial's number, and its rung; None for the whole run


@dataclass(frozen=True)
class Job:
    """A run that the search asks for.

    Attributes:
        trial: its number; 0 is the source itself, and below are the other ones.
        rung: after how many epochs it stops; None for a whole run.
        values: the parameters to set in the source's config; of the source none.
    """

    trial: int
    rung: int | None
    values: Config

    @property
    def key(self) -> Key:
        return self.trial, self.rung


class Trial(NamedTuple):
    """A trial as a sampler sees it; `is_fit` is False for one that has failed, or has a result that is no number."""

    number: int
    values: Config
    is_fit: bool = True


class Sampler(Protocol):
    """Proposes the values of a trial from nothing but what it is told here and the search's seed.

    It is never asked for one trial twice, but may be asked for any trial first: results that were computed before are
    not proposed again. So it must not remember anything that changes its answer.
    """

    def propose(self, trial: int, ranked: Sequence[Trial], in_flight: Sequence[Trial]) -> Config | None:
        """The values of a trial; None if there are none any more that were not tried.

        Args:
            ranked: all trials that have a result, the best first, those that are not fit last.
            in_flight: those that were proposed and have no result yet, in the order of their numbers.
        """
        ...


def config_of(job: Job, search: Search, base: Config) -> Config:
    """The whole config of a job, which is that of the source with the trial's values and its rung."""
    return base | job.values | ({search.rung: job.rung} if job.rung is not None else {})


def name_of(job: Job, search: Search, name: str) -> str:
    """What a job of the search with this name is called: `digitsa`, or `digitsa-2` on the rung of two epochs.

    The letters are the trial's number, so a name never depends on who was first. Trial 0 has the source's name.

    Raises:
        ConfigError: the name is longer than a name can be; give the search a shorter one.
    """
    if job.trial <= 0:
        return (search.source, *search.others)[-job.trial]
    rung = "" if job.rung is None else f"-{job.rung}"
    return configs.check_name(f"{name}{configs.letters(job.trial)}{rung}", f"trial {job.trial} of {name}")


def longest_name(search: Search, name: str) -> str:
    """The longest that a job of this search may be called.

    Raises:
        ConfigError: it is longer than a name can be.
    """
    return name_of(Job(search.trials, search.rungs[-1] if search.rungs else None, {}), search, name)

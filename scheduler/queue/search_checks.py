"""Whether a search fits its source: what is wrong with it is told before anything is inserted."""

import math
from collections.abc import Sequence

from repro.scheduler.configs.variations import Span
from repro.scheduler.queue.search_standing import Unfit, figure_of
from repro.scheduler.runs import RunDocument
from repro.scheduler.search import base_check, search_config, trials
from repro.scheduler.search.search_config import STAGE
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError
from repro.stages.source import registry


def check(config: Config, given: Sequence[Config], where: str, name: str) -> None:
    """See that a search fits the configs of its sources, and that today's code of their stage takes all that it may
    try.

    Raises:
        ConfigError: it does not; the message names the key.
    """
    base = given[0]
    search, stage = search_config.parse(config, where), str(base.get("stage"))
    if len({str(one.get("stage")) for one in given}) > 1:
        raise ConfigError(f'{where}: "source": runs of different stages have nothing to search together')
    if stage == STAGE:
        raise ConfigError(
            f'{where}: "source": {search.source} is a search itself; name the run that is to be improved on'
        )
    defaults = {key: _plain(default) for key, default in registry.keys(stage, where).items()}
    base_check.check_against(search, base, defaults, where)
    if search.rungs and registry.prefix_key(stage) != search.rung:
        raise ConfigError(
            f'{where}: "rungs": stage "{stage}" does not say that "{search.rung}" only ends it earlier; if it does, '
            f'write PREFIX = "{search.rung}" at the top of its module'
        )
    for key, choice in search.choices.items():
        for value in (choice.low, choice.high) if isinstance(choice, Span) else choice:
            registry.check(base | {key: value}, f'{where}: "{search_config.SPACE}{key}"', tuple(base))
    trials.longest_name(search, name)


def check_figure(config: Config, source: RunDocument, where: str) -> None:
    """See that a source that is done has the figure that is to be improved.

    Raises:
        ConfigError: it has not.
    """
    try:
        value = figure_of(source, str(config["metric"]))
    except Unfit as unfit:
        raise ConfigError(f"{where}: {unfit}") from None
    if not math.isfinite(value):
        raise ConfigError(
            f'{where}: "metric": {config["metric"]} of {source["_id"]} is {value}; nothing improves on that'
        )


def _plain(default: object) -> Value:
    """A default as a config could say it; None for one that the source does not show."""
    return default if isinstance(default, bool | int | float | str | list) else None

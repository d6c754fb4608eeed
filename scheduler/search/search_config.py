"""The config of a search: flat, as every config, with one line a parameter (R10).

What can be said of it alone is checked here; whether it fits the run that it is to improve on, in `base_check`.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from repro.scheduler.configs.variations import Choice, parse_range
from repro.scheduler.search.space import Space
from repro.stages import config as configs
from repro.stages.config import RESERVED, Config, Value
from repro.stages.errors import ConfigError

STAGE = "search"
SPACE = "space_"
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SAMPLERS = ("tpe", "random", "evolve")
FAILURES = ("stage", "all")
MOST_TRIALS = 10_000
MOST_AXES = 50  # densities of more could leave the range of a float
FORMS = 'a range such as "1e-4..1e-1", "log:1e-4..1e-1" or "1..8", or a list of choices'
NEVER = {
    "stage": "another stage is another search",
    "source": "another source is another search",
    "gpus": "how many cards a run takes is no parameter of its result",
    "name": "trials are named by their number",
    "seed": "the best of several seeds is luck, and nothing that the next run could use",
}


@dataclass(frozen=True)
class Search:
    """A search, as its config says it.

    Attributes:
        source: the run to be improved on; its config is the base of all trials, and it is trial 0.
        others: runs of the same stage that are known, too, where a config names several sources: trials -1, -2...
        metric: a figure of the results; the highest is the best, or with `minimize` the lowest.
        choices: key -> range or list of choices.
        trials: how many there are besides the source.
        lag: how many jobs are under way at once on the virtual clock.
        rungs: after how many epochs runs are compared and most of them left; rising, without the last epoch.
        rung: the key that says after how many epochs a run stops.
        eta: of so many runs on a rung one goes on.
        target: no new jobs once a whole run is as good as this.
        patience: no new jobs after so many whole runs in a row without a better one.
        budget: no job that would bring the cost of all over this: epochs with rungs, else jobs.
        survivors, mutate: of the sampler "evolve": how many of the best are parents, how often a parameter mutates.
        failures: "all": also a run that failed by no fault of its config counts as the worst.
    """

    source: str
    metric: str
    choices: Mapping[str, Choice]
    minimize: bool = False
    trials: int = 50
    lag: int = 8
    sampler: str = "tpe"
    rungs: Sequence[int] = ()
    rung: str = "until"
    eta: int = 3
    target: int | float | None = None
    patience: int | None = None
    budget: int | float | None = None
    failures: str = "stage"
    seed: int = 0
    others: Sequence[str] = ()
    survivors: int = 3
    mutate: int | float = 0.2

    @cached_property
    def space(self) -> Space:
        return Space.of(self.choices)


KNOWN = ("stage", *(name for name in Search.__dataclass_fields__ if name not in ("choices", "others")))


def parse(config: Config, where: str) -> Search:
    """The search that a config means; `where` names it in messages.

    Raises:
        ConfigError: a key is unknown, missing or wrong; the message names it.
    """
    _check_keys(config, where)
    said = {key: value for key, value in config.items() if not key.startswith(SPACE) and key != "stage"}
    choices = {
        key.removeprefix(SPACE): _choice(value, f'{where}: "{key}"')
        for key, value in config.items()
        if key.startswith(SPACE)
    }
    _check_values(said, where)
    options: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    source, *others = configs.sources(config, where)
    options |= {"source": source, "others": tuple(others)}
    search = Search(choices=choices, **options)
    _check_space(search, where)
    for name in (search.source, *search.others):
        configs.check_name(name, f'{where}: "source"')
    return search


def _check_keys(config: Config, where: str) -> None:
    if config.get("stage") != STAGE:
        raise ConfigError(f'{where}: "stage": expected "{STAGE}", got: {json.dumps(config.get("stage"))}')
    for key in config:
        if key not in KNOWN and not key.startswith(SPACE):
            near = difflib.get_close_matches(key, KNOWN, n=1)
            known = f'to search this parameter say "{SPACE}{key}"; known keys: {", ".join(sorted(KNOWN))}'
            hint = f'did you mean "{near[0]}"?' if near else known
            raise ConfigError(f'{where}: a search has no "{key}"; {hint}')
    for key in ("source", "metric"):
        if config.get(key) is None:
            raise ConfigError(f'{where}: no "{key}"; say {_NEEDED[key]}')


_NEEDED = {
    "source": 'which run is to be improved on, e.g. "source": "model"',
    "metric": 'which figure of the results is to be improved, e.g. "metric": "validation_accuracy"',
}


def _check_values(said: Mapping[str, Any], where: str) -> None:
    if said["source"] == []:
        raise ConfigError(f'{where}: no "source"; say {_NEEDED["source"]}')
    for key in ("metric", "rung"):
        _check(key, said, where, "a name", lambda v: isinstance(v, str) and v != "")
    _check("minimize", said, where, "true or false", lambda v: isinstance(v, bool))
    _check("sampler", said, where, f"one of {_listed(SAMPLERS)}", lambda v: v in SAMPLERS)
    _check("failures", said, where, f"one of {_listed(FAILURES)}", lambda v: v in FAILURES)
    _check("trials", said, where, f"an integer from 1 to {MOST_TRIALS}", lambda v: _is_whole(v, 1, MOST_TRIALS))
    _check("lag", said, where, "an integer, 1 or more", lambda v: _is_whole(v, 1))
    _check("eta", said, where, "an integer, 2 or more", lambda v: _is_whole(v, 2))
    _check("survivors", said, where, "an integer, 2 or more", lambda v: _is_whole(v, 2))
    _check("mutate", said, where, "a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)
    for key in ("survivors", "mutate"):
        if key in said and said.get("sampler") != "evolve":
            raise ConfigError(f'{where}: "{key}" is of the sampler "evolve" alone; leave it out, or take that sampler')
    _check("seed", said, where, "an integer", lambda v: _is_whole(v, None))
    _check("rungs", said, where, "a list of epochs that rise, such as [2, 6]", _is_rising)
    _check("target", said, where, "a number, or null", lambda v: v is None or _is_number(v))
    _check("patience", said, where, "an integer, 1 or more, or null", lambda v: v is None or _is_whole(v, 1))
    _check("budget", said, where, "a number over 0, or null", lambda v: v is None or (_is_number(v) and v > 0))
    if not KEY.fullmatch(said.get("rung", "until")):
        raise ConfigError(f"{where}: \"rung\": bad key {said['rung']!r}: letters, digits and '_', no leading digit")


def _check(key: str, said: Mapping[str, Any], where: str, expected: str, is_right: Any) -> None:
    if key in said and not is_right(said[key]):
        got = json.dumps(said[key], ensure_ascii=False)
        raise ConfigError(f'{where}: "{key}": expected {expected}, got: {got}')


def _check_space(search: Search, where: str) -> None:
    if not search.choices:
        raise ConfigError(f'{where}: no parameter to search; say one, e.g. "{SPACE}lr": "log:1e-4..1e-1"')
    if len(search.choices) > MOST_AXES:
        raise ConfigError(f"{where}: {len(search.choices)} parameters; a search has at most {MOST_AXES}")
    for key in search.choices:
        if key in NEVER or key in RESERVED:
            raise ConfigError(f'{where}: "{SPACE}{key}": can\'t be searched: {NEVER[key]}')
        if search.rungs and key == search.rung:
            raise ConfigError(f'{where}: "{SPACE}{key}": can\'t be searched: "{key}" says on which rung a run stops')
        if search.rungs and key == "epochs":
            raise ConfigError(
                f'{where}: "{SPACE}epochs": can\'t be searched together with rungs, which compare runs after equal '
                "parts of the same epochs; leave out one of the two"
            )
        if not KEY.fullmatch(key):
            raise ConfigError(f"{where}: \"{SPACE}{key}\": bad key {key!r}: letters, digits and '_', no leading digit")


def _choice(value: Value, where: str) -> Choice:
    """The range or the list that a config says for a parameter."""
    if isinstance(value, str) and (span := parse_range(value, where)):
        return span
    if not isinstance(value, list):
        raise ConfigError(f"{where}: expected {FORMS}, got: {json.dumps(value, ensure_ascii=False)}")
    if len(value) < 2:
        raise ConfigError(f"{where}: a list of two choices or more, got: {json.dumps(value, ensure_ascii=False)}")
    for number, one in enumerate(value):
        if any(one == other and isinstance(one, bool) == isinstance(other, bool) for other in value[:number]):
            raise ConfigError(f"{where}: the choice {json.dumps(one, ensure_ascii=False)} stands there twice")
    return list(value)


def _is_whole(value: object, least: int | None, most: int | None = None) -> bool:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and (least is None or value >= least) and (most is None or value <= most)  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_rising(value: object) -> bool:
    if not isinstance(value, list) or not all(_is_whole(epochs, 1) for epochs in value):
        return False
    return all(low < high for low, high in pairwise(value))


def _listed(values: Sequence[str]) -> str:
    return json.dumps(list(values))[1:-1]

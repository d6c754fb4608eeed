"""Whether a search fits the run that it is to improve on: what can be wrong is told before anything is computed."""

import difflib
import json
from collections.abc import Mapping

from repro.scheduler.configs.variations import Span
from repro.scheduler.search.search_config import SPACE, Search
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError

EPOCHS = "epochs"


def check_against(search: Search, base: Config, defaults: Mapping[str, Value], where: str = "search") -> None:
    """See that the base's stage reads each parameter and takes its values, and that the rungs are below its epochs.

    Args:
        base: the config of the source.
        defaults: the keys that the base's stage reads, each with its default, or None where nobody can see it.
        where: names the search's config in messages.

    Raises:
        ConfigError: naming the key and what is wrong.
    """
    known = {**defaults, **base}
    for key, choice in search.choices.items():
        _check_known(key, known, base, f'{where}: "{SPACE}{key}"')
        default = defaults.get(key) if defaults.get(key) is not None else base.get(key)
        for value in (choice.low, choice.high) if isinstance(choice, Span) else choice:
            if wrong := _mismatch(value, default):
                raise ConfigError(f'{where}: "{SPACE}{key}": {wrong}')
    if search.rungs:
        _check_known(search.rung, known, base, f'{where}: "rung"')
        if search.rung in base:
            raise ConfigError(
                f'{where}: "rungs": "{search.source}" says "{search.rung}" itself, so it is no whole run; take it '
                "out of its config, or leave out the rungs"
            )
        _check_rungs(search, known.get(EPOCHS), where)


def base_values(search: Search, base: Config, defaults: Mapping[str, Value]) -> Config:
    """What `engine.replay` needs of the source: its values of the parameters and, with rungs, its epochs."""
    keys = [*search.choices, *([EPOCHS] if search.rungs else [])]
    said = {key: base.get(key, defaults.get(key)) for key in keys}
    return {key: value for key, value in said.items() if value is not None}


def _check_known(key: str, known: Mapping[str, Value], base: Config, where: str) -> None:
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"
        raise ConfigError(f'{where}: no code of stage "{base.get("stage")}" reads "{key}"; {hint}')


def _check_rungs(search: Search, epochs: Value, where: str) -> None:
    if not isinstance(epochs, int) or isinstance(epochs, bool):
        raise ConfigError(
            f'{where}: "rungs": "{search.source}" says no "{EPOCHS}", so nobody knows how long a whole run is; say it '
            "in its config, or leave out the rungs"
        )
    if search.rungs[-1] >= epochs:
        raise ConfigError(
            f'{where}: "rungs": {search.rungs[-1]} is not below the {epochs} epochs of "{search.source}"; a whole run '
            "follows the last rung by itself"
        )


def _mismatch(value: Value, default: Value) -> str | None:
    """Why a value can't stand where this one stands; None if it can. An integer may stand for a float."""
    kind, wanted = _kind(value), _kind(default)
    if default is None or kind is wanted or (wanted is float and kind is int):
        return None
    names = {int: "integers", float: "numbers", bool: "true or false", str: "strings", list: "lists"}
    expected = names.get(wanted, wanted.__name__)
    return f"expected {expected}, as its value is {json.dumps(default)}; got: {json.dumps(value)}"


def _kind(value: Value) -> type:
    """The type as configs know it: an integer that comes back from MongoDB has one of its own."""
    return int if isinstance(value, int) and not isinstance(value, bool) else type(value)

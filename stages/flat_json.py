"""The strict flat JSON of configs: what is refused, and how it would be written instead (R10)."""

import json
import math
import re
from typing import Any

from repro.stages.errors import ConfigError

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INTEGERS = range(-(2**63), 2**63)


def decode(text: str, where: str) -> Any:
    """JSON with every number as it stands there; NaN and the like are left for `check_item` to name their key.

    Raises:
        json.JSONDecodeError: it is no JSON.
        ConfigError: a key twice in one object, or nesting without end.
    """
    try:
        return _JSON.decode(text)
    except _Twice as error:
        raise ConfigError(f'{where}: "{error}" stands there twice') from error
    except RecursionError as error:
        raise ConfigError(f"{where}: nested too deeply; a config is flat") from error


def _integer(digits: str) -> int:
    """The integer; of one with thousands of digits, which Python does not convert, enough to be refused by."""
    return int(digits[:40])


class _Twice(Exception):
    """A key that an object has twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(next(key for key in keys if keys.count(key) > 1))
    return values


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)  # made once: a submit reads thousands


def _spelt_flat(key: str, value: dict[str, Any]) -> str:
    inner = ", ".join(
        f"{json.dumps(f'{key}_{k}')}: {'...' if isinstance(v, dict | list) else json.dumps(v)}"
        for k, v in value.items()
    )
    return inner or f"leave out the empty object {json.dumps(key)}"


def check_item(key: str, value: Any, where: str) -> None:
    """One key and its value by the rules of a flat config (R10)."""
    if not KEY.fullmatch(key):
        raise ConfigError(f"{where}: bad key {key!r}: letters, digits and '_', no leading digit")
    if isinstance(value, dict):
        raise ConfigError(f'{where}: "{key}" is nested; write it flat: {_spelt_flat(key, value)}')
    if not isinstance(value, list):
        _check_scalar(key, value, where)
        return
    for position, item in enumerate(value):
        if isinstance(item, dict | list):
            inner = _spelt_flat(key, item) if isinstance(item, dict) else f'"{key}_{position}": ...'
            raise ConfigError(f'{where}: "{key}" is nested; write it flat: {inner}')
        _check_scalar(key, item, where)


def _check_scalar(key: str, value: Any, where: str) -> None:
    if isinstance(value, str):
        if not value.isascii() and any(0xD800 <= ord(c) < 0xE000 for c in value):
            raise ConfigError(f'{where}: "{key}": half of a surrogate pair is no text')
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f'{where}: "{key}": {value} is no finite number')
    elif type(value) is int and value not in INTEGERS:
        raise ConfigError(f'{where}: "{key}": {value} does not fit in 64 bits')


def kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return f"{kinds.get(type(value), 'a number')}: {json.dumps(value)[:60]}" if value is not None else "null"

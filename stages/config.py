"""Configs: parse, merge, check, canonical form, fingerprint (R5-R7, R10, R13)."""

import codecs
import hashlib
import json
import os
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from repro.stages.errors import ConfigError
from repro.stages.flat_json import check_item, decode, kind

Scalar = str | int | float | bool | None
Value = Scalar | list[Scalar]
Config = dict[str, Value]

MAX_BYTES = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
RESERVED = {"stage": "", "source": None, "seed": 0, "gpus": 0}


def load(path: Path) -> Config:
    """The config in a file, as parsed: still without the checks that only the merged config must pass.

    Raises:
        ConfigError: the file can't be read or breaks a rule.
    """
    try:
        data = _read(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: {len(data)} bytes; a config holds at most {MAX_BYTES}")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Config:
    """Parse one flat JSON object; `where` names it in messages.

    Raises:
        ConfigError: broken JSON (with line and column), a duplicate key, a value that is not flat.
    """
    try:
        parsed = decode(text, where)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}:{error.lineno}:{error.colno}: broken JSON: {error.msg}") from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"{where}: expected one JSON object, got: {kind(parsed)}")
    for key, value in parsed.items():
        check_item(key, value, where)
    return parsed


def parse_setting(text: str) -> tuple[str, Value]:
    """`key=value` of `--set`; the value is read as JSON, else it is a string."""
    key, equals, raw = text.partition("=")
    where = f"--set {text[:60]!r}"
    if not equals:
        raise ConfigError(f"{where}: expected key=value")
    try:
        value = decode(raw, where)
    except json.JSONDecodeError:
        value = raw
    check_item(key, value, where)
    return key, value


def merge(config: Config, conf: str | None = None, settings: Sequence[str] = ()) -> Config:
    """The config with `--conf` and then every `--set` laid over it (R7); the original is not changed."""
    over = parse(conf, "--conf") if conf is not None else {}
    return config | over | dict(parse_setting(text) for text in settings)


def check(config: Config, where: str) -> None:
    """The rules for a whole, merged config: its reserved keys and its size."""
    stage, seed, gpus = config.get("stage"), config.get("seed", 0), config.get("gpus", 0)
    if "stage" not in config:
        raise ConfigError(f'{where}: no "stage"; say which stage the config is for, e.g. "stage": "train"')
    if not isinstance(stage, str):
        raise ConfigError(f'{where}: "stage": expected a string, got: {kind(stage)}')
    if not isinstance(seed, int) or isinstance(seed, bool):  # MongoDB's integers have a type of their own
        raise ConfigError(f'{where}: "seed": expected an integer, got: {kind(seed)}')
    if not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0:
        raise ConfigError(f'{where}: "gpus": expected a number of cards, 0 or more, got: {json.dumps(gpus)}')
    for source in sources(config, where):
        check_name(source, f'{where}: "source"')
    # A character takes at most 8 bytes in either spelling, so most configs need not be spelt out for this.
    if 8 * len(repr(config)) > MAX_BYTES and len(pretty(config)) > MAX_BYTES:
        raise ConfigError(f"{where}: the merged config is over {MAX_BYTES} bytes")


def check_name(name: str, where: str) -> str:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: bad name {name!r}: letters, digits, '_' and '-', at most 64, no leading '-' or '_'"
        )
    return name


def unread(config: Mapping[str, object], read: Container[str]) -> list[str]:
    """The keys that a config said and its stage did not read, sorted; what the product itself reads is none of them."""
    return sorted(key for key in config if key not in read and key not in RESERVED)


def sources(config: Config, where: str = "config") -> list[str]:
    """The names of the configs before this one, in the order given (R13)."""
    value = config.get("source")
    names = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{where}: "source": expected a name or a list of names, got: {json.dumps(value)}')
    if len(set(names)) != len(names):
        raise ConfigError(f'{where}: "source" names one config twice: {json.dumps(value)}')
    return [str(name) for name in names]


def canonical(config: Mapping[str, Value]) -> bytes:
    """The one spelling of a config: keys sorted, no spaces, UTF-8; `1` and `1.0` stay apart."""
    return _CANONICAL.encode(config).encode()


def fingerprint(config: Config, of_sources: Mapping[str, str]) -> str:
    """SHA-256 of the canonical config in which each source's name is replaced by its fingerprint.

    It names the computation, whatever the config and its sources are called.
    """
    source = config.get("source")
    if isinstance(source, str):
        config = config | {"source": of_sources[source]}
    elif isinstance(source, list):
        config = config | {"source": [of_sources[str(name)] for name in source]}
    return hashlib.sha256(canonical(config)).hexdigest()


def pretty(config: Mapping[str, Value]) -> bytes:
    """The copy that is saved beside the results: one key a line, in the order of the file."""
    lines = (
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in config.items()
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def difference(old: Mapping[str, Value], new: Mapping[str, Value]) -> str:
    """`lr: 0.1 -> 0.2, epochs: (absent) -> 3`, keys sorted; empty if the configs are equal."""
    changed = [k for k in sorted(old.keys() | new.keys()) if canonical_item(old, k) != canonical_item(new, k)]
    return ", ".join(f"{key}: {_shown(old, key)} -> {_shown(new, key)}" for key in changed)


def canonical_item(config: Mapping[str, Value], key: str) -> bytes | None:
    return canonical({key: config[key]}) if key in config else None


def next_letter(base: str, taken: set[str]) -> str:
    """`model` -> `modela` -> ... `modelz` -> `modelaa`: the first that is not taken (R16)."""
    number = 1
    while (name := base + letters(number)) in taken:
        number += 1
    return check_name(name, "next free letter")


def letters(number: int) -> str:
    """1 -> a, 26 -> z, 27 -> aa, as columns of a spreadsheet are counted."""
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def _read(path: Path) -> bytes:
    """Without a file object, which costs as much again: a submit reads thousands."""
    handle = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(handle, MAX_BYTES + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _shown(config: Mapping[str, Value], key: str) -> str:
    return json.dumps(config[key]) if key in config else "(absent)"

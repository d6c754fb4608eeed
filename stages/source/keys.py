"""Which keys a stage's code knows, read from its source without importing it; and a config checked against them."""

import ast
import difflib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from repro.stages.config import RESERVED, Config
from repro.stages.errors import ConfigError
from repro.stages.source import modules

# What stands for a default in the code where no literal does.
REQUIRED: Any = object()  # params["key"]: the config must say
COMPUTED: Any = object()  # params.get("key", SOMETHING): the source does not show it
DECLARED = "DYNAMIC_KEYS"  # a module's own literal dict of the keys that it reads by computed names, with defaults


def type_mismatch(value: Any, default: Any) -> str | None:
    """Why a value can't stand where this default stands; None if it can. An integer may stand for a float."""
    if default is None or type(value) is type(default) or (type(default) is float and type(value) is int):
        return None
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string", list: "a list"}
    return f"expected {names.get(type(default), type(default).__name__)}, got: {json.dumps(value)}"


def check_keys(config: Config, known: Mapping[str, Any], where: str, allow_unknown: bool = False) -> None:
    """Refuse keys that no stage code reads and values of another type than their default.

    Raises:
        ConfigError: naming the key and the nearest known one.
    """
    for key, value in config.items():
        if key not in known and not allow_unknown:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"
            raise ConfigError(f'{where}: no code of stage "{config["stage"]}" reads "{key}"; {hint}')
        if wrong := type_mismatch(value, known.get(key)):
            raise ConfigError(f'{where}: "{key}": {wrong}')


def known_keys(module: str) -> dict[str, Any]:
    """The keys that a module's code reads (`reads`), each with its default where that is a literal, else None.

    Raises:
        ConfigError: the source is no Python.
    """
    known: dict[str, Any] = dict(RESERVED)
    for key, defaults in reads(module).items():
        literals = [default for default in defaults if default not in (REQUIRED, COMPUTED, None)]
        known[key] = next((default for default in (known.get(key), *literals) if default is not None), None)
    return known


def reads(module: str) -> dict[str, list[Any]]:
    """Key -> defaults with which a module, and what it imports of its own package or folder, reads it from `params`.

    Read from the source, which is not imported: `params.get("key", 1)`, `params["key"]`, `"key" in params`,
    on `params` or `something.params`, and what a module declares in `DYNAMIC_KEYS = {"key": 1}`.

    Raises:
        ConfigError: the source is no Python.
    """
    known: dict[str, list[Any]] = {}
    for name, source in code_of(module):
        for key, default in _facts_of(name, source)[0]:
            known.setdefault(key, []).append(default)
    return known


def code_of(module: str) -> Iterator[tuple[str, Path]]:
    """Name and file of a module, and of all that it imports of its own package or folder."""
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if (source := modules.source(name)) is not None:
            yield name, source
            waiting += [other for other in _facts_of(name, source)[1] if modules.lie_together(module, other)]


def constant(module: str, name: str) -> Any:
    """A literal that stands at the top of a module, read from the source without importing it; None if it does not."""
    source = modules.source(module)
    return _constants(source, source.stat().st_mtime_ns).get(name) if source else None


def _facts_of(module: str, source: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    inside = f"{module}.__init__" if source.name == "__init__.py" else module
    return _facts(source, inside, source.stat().st_mtime_ns)


@lru_cache(maxsize=1000)
def _facts(source: Path, module: str, modified: int) -> tuple[list[tuple[str, Any]], list[str]]:
    """What a file reads from `params`, and which modules it imports; read again once it was modified."""
    read, imports = list[tuple[str, Any]](), list[str]()
    for node in ast.walk(modules.parsed(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports += _imported(node, module)
        elif isinstance(node, ast.Call | ast.Subscript | ast.Compare):
            read += _read(node)
        elif isinstance(node, ast.Assign):
            read += _declared(node)
    return read, imports


@lru_cache(maxsize=1000)
def _constants(source: Path, modified: int) -> dict[str, Any]:
    """The literals that stand at the top of a file, by name; read again once it was modified."""
    literals: dict[str, Any] = {}
    for node in modules.parsed(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if (literal := _literal(value)) is not COMPUTED:
                literals.setdefault(name, literal)
    return literals


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parent = ".".join(module.split(".")[: -node.level]) if node.level else ""
    base = ".".join(part for part in (parent, node.module) if part)
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _read(node: ast.Call | ast.Subscript | ast.Compare) -> list[tuple[str, Any]]:
    match node:
        case ast.Call(func=ast.Attribute(value=on, attr="get"), args=[ast.Constant(value=str(key)), *rest]):
            return [(key, _literal(rest[0]) if rest else None)] if _is_params(on) else []
        case ast.Subscript(value=on, slice=ast.Constant(value=str(key))) if _is_params(on):
            return [(key, REQUIRED)]
        case ast.Compare(left=ast.Constant(value=str(key)), comparators=[on]) if _is_params(on):
            return [(key, REQUIRED)]
    return []


def _declared(node: ast.Assign) -> list[tuple[str, Any]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value) if name == DECLARED:
            keys = _literal(value)
            return list(keys.items()) if isinstance(keys, dict) else []
    return []


def _is_params(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "params") or (
        isinstance(node, ast.Attribute) and node.attr == "params"
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return COMPUTED

"""Which keys a stage's code knows, read from its source without importing it; and a config checked against them."""

import ast
import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from repro.stages.config import RESERVED, Config
from repro.stages.errors import ConfigError
from repro.stages.source import flow, modules
from repro.stages.source.flow import COMPUTED, REQUIRED, Reads

WAYS_OUT = (
    "if the code does read it, where its source does not show that: run.options(Dataclass), or DYNAMIC_KEYS in its "
    "module, or --allow-unknown KEY"
)
DECLARED = "DYNAMIC_KEYS"  # a module's own literal dict of the keys that it reads by computed names, with defaults


class UnknownKey(ConfigError):
    """`key`: of the config, which no code reads."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def type_mismatch(value: Any, default: Any) -> str | None:
    """Why a value can't stand where this default stands; None if it can. An integer may stand for a float."""
    kind, wanted = _kind(value), _kind(default)
    if default is None or kind is wanted or (wanted is float and kind is int) or (wanted is tuple and kind is list):
        return None
    names = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a string",
        list: "a list",
        tuple: "a list",
    }
    return f"expected {names.get(type(default), type(default).__name__)}, got: {json.dumps(value)}"


def _kind(value: Any) -> type:
    """The type as configs know it: an integer that comes back from MongoDB has one of its own."""
    return int if isinstance(value, int) and not isinstance(value, bool) else type(value)


def check_keys(config: Config, known: Mapping[str, Any], where: str, allowed: Collection[str] = ()) -> None:
    """Refuse keys that no stage code reads, but for those allowed, and values of another type than their default.

    Raises:
        UnknownKey: naming the key and the nearest known one.
        ConfigError: naming the key and what it should be.
    """
    for key, value in config.items():
        if key not in known and key not in allowed:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}; {WAYS_OUT}"
            raise UnknownKey(f'{where}: no code of stage "{config["stage"]}" reads "{key}"; {hint}', key)
        if wrong := type_mismatch(value, known.get(key)):
            raise ConfigError(f'{where}: "{key}": {wrong}')


def followed(module: str, function: str) -> Reads:
    """The keys that a stage's function reads, by following the config from it (`flow`); with those that the modules on
    the way declare. Where the way is lost, and where the function is not found in the source, what all code of the
    module and of what it imports reads from something called `params` is taken for its own.

    Raises:
        ConfigError: the source is no Python.
    """
    loaded: dict[str, flow.Module] = {}

    def load(name: str) -> flow.Module | None:
        if name not in loaded:
            source = modules.source(name) if _is_near(module, name) else None
            if source is None:
                return None
            loaded[name] = _parsed(source, name, source.stat().st_mtime_ns)
        return loaded[name]

    follower = flow.Follower(load)
    found = follower.follow(module, function)
    reads = follower.reads
    if not found or reads.lost:
        for key, defaults in all_reads(module).items():
            reads.keys.setdefault(key, []).extend(defaults)
    for one in loaded.values():
        for key, default in _declared_in(one):
            reads.keys.setdefault(key, []).append(default)
    return reads


def _is_near(module: str, other: str) -> bool:
    """Whether code of another module may be a stage's: of its package, or of the project and not installed."""
    if modules.lie_together(module, other):
        return True
    if modules.is_taken(other) or modules.package_of(module) == modules.OURS:
        return False
    source = modules.source(other)
    return source is not None and not modules.is_installed(str(source))


@lru_cache(maxsize=1000)
def _parsed(source: Path, name: str, modified: int) -> flow.Module:
    inside = f"{name}.__init__" if source.name == "__init__.py" else name
    return flow.module_of(name, modules.parsed(source), lambda node: _imported(node, inside)[0])


def _declared_in(module: flow.Module) -> list[tuple[str, Any]]:
    """`DYNAMIC_KEYS`, as a literal or by `dict(...)`; a value that is no literal is a default that nobody can see."""
    match module.constants.get(DECLARED):
        case ast.Dict(keys=keys, values=values):
            given = [(literal(key), literal(value)) for key, value in zip(keys, values, strict=True) if key]
            return [(key, value) for key, value in given if isinstance(key, str)]
        case ast.Call(func=ast.Name(id="dict"), keywords=words):
            return [(word.arg, literal(word.value)) for word in words if word.arg]
    return []


def known_of(reads: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Key -> its default where that is a literal, else None; the reserved keys among them."""
    known: dict[str, Any] = dict(RESERVED)
    for key, defaults in reads.items():
        literals = [default for default in defaults if default not in (REQUIRED, COMPUTED, None)]
        known[key] = next((default for default in (known.get(key), *literals) if default is not None), None)
    return known


def known_keys(module: str) -> dict[str, Any]:
    """The keys that a module's code reads (`reads`), each with its default where that is a literal, else None.

    Raises:
        ConfigError: the source is no Python.
    """
    return known_of(all_reads(module))


def all_reads(module: str) -> dict[str, list[Any]]:
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


def imports_of(module: str, source: Path) -> list[str]:
    """The modules that a file imports, anywhere in it; what may be a module's own names are among them."""
    return _facts_of(module, source)[1]


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
def imported_at_once(source: Path, modified: int) -> frozenset[str]:
    """The top modules that a file imports whatever happens: not within `try`, `if` or a function, and not its own."""
    names = list[str]()
    for node in modules.parsed(source).body:
        match node:
            case ast.Import(names=aliases):
                names += [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(name), level=0):
                names.append(name)
    return frozenset(name.partition(".")[0] for name in names)


@lru_cache(maxsize=1000)
def _constants(source: Path, modified: int) -> dict[str, Any]:
    """The literals that stand at the top of a file, by name; read again once it was modified."""
    literals: dict[str, Any] = {}
    for node in modules.parsed(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if (found := literal(value)) is not COMPUTED:
                literals.setdefault(name, found)
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
            return [(key, literal(rest[0]) if rest else None)] if _is_params(on) else []
        case ast.Subscript(value=on, slice=ast.Constant(value=str(key))) if _is_params(on):
            return [(key, REQUIRED)]
        case ast.Compare(left=ast.Constant(value=str(key)), comparators=[on]) if _is_params(on):
            return [(key, REQUIRED)]
    return []


def _declared(node: ast.Assign) -> list[tuple[str, Any]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value) if name == DECLARED:
            keys = literal(value)
            return list(keys.items()) if isinstance(keys, dict) else []
    return []


def _is_params(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "params") or (
        isinstance(node, ast.Attribute) and node.attr == "params"
    )


def literal(node: ast.expr) -> Any:
    """The value of an expression that is one; COMPUTED if it is none."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return COMPUTED

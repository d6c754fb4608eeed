"""Scripts as they are: `"stage": "script:train.py"`. Which flags a script takes is read from its source, so that a
mistyped key is refused before it runs.

Known are `add_argument` of argparse, in the script and in what it imports of the project; where one of the flags is a
config file (`-c`), the keys that the code reads from any dictionary; and nanoGPT's way: variables at the top of a
script that `exec`s a configurator, each set by `--name=value`.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from repro.stages.errors import ConfigError
from repro.stages.source import modules
from repro.stages.source.flow import COMPUTED, REQUIRED, Reads
from repro.stages.source.keys import literal
from repro.stages.source.reach import own_files

NAME = re.compile(r"script:([A-Za-z_]\w*)\.py", re.ASCII)
MANY = ("*", "+")


@dataclass(frozen=True)
class Option:
    """One key of a script: `flags`, none for a positional argument; `action` as argparse calls it; `many`: whether it
    takes several values; `default`: REQUIRED, COMPUTED or a literal."""

    key: str
    flags: tuple[str, ...]
    action: str
    many: bool
    default: Any
    choices: tuple[Any, ...] = ()


def module_of(stage: str, where: str) -> str:
    """The module that a script would be, by which it is found.

    Raises:
        ConfigError: it is no file of Python of a folder of the project.
    """
    found = NAME.fullmatch(stage)
    if found is None:
        raise ConfigError(
            f'{where}: stage "{stage}": expected such as "script:train.py"; put the folder of a script that does not '
            "lie in the current one on PYTHONPATH, and name the file alone"
        )
    return found[1]


def reads(module: str) -> Reads:
    """The keys of a script, as those of a stage are told."""
    found, given = Reads(), options(module)
    if of_a_file(given):
        for key, default in _of_dictionaries(module):
            found.keys.setdefault(key, []).append(default)
    for option in given:
        found.keys.setdefault(option.key, []).append(option.default)
        if option.choices:
            found.choices[option.key] = option.choices
    return found


def options(module: str) -> list[Option]:
    """What a script's command line takes, in its order.

    Raises:
        ConfigError: its source is no Python.
    """
    found = [option for _, file in own_files(module) for option in _arguments(file, file.stat().st_mtime_ns)]
    script = modules.source(module)
    return found or (list(_variables(script)) if script else [])


def of_a_file(given: Sequence[Option]) -> Option | None:
    """The option that is for a config file, if there is one."""
    return next((one for one in given if {"-c", "--config", "--cfg", "--conf"} & {*one.flags}), None)


def _of_dictionaries(module: str) -> Iterator[tuple[str, Any]]:
    for _, file in own_files(module):
        for node in ast.walk(modules.parsed(file)):
            match node:
                case ast.Subscript(slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                    yield key, COMPUTED
                case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(key)), *rest]):
                    yield key, literal(rest[0]) if rest else None


@lru_cache(maxsize=1000)
def _arguments(file: Path, modified: int) -> tuple[Option, ...]:
    calls = [node for node in ast.walk(modules.parsed(file)) if isinstance(node, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    return tuple(option for call in calls if (option := _argument(call)))


def _argument(call: ast.Call) -> Option | None:
    names = [value for node in call.args if isinstance(value := literal(node), str)]
    said = {word.arg: literal(word.value) for word in call.keywords if word.arg}
    kind = next(
        (word.value.id for word in call.keywords if word.arg == "type" and isinstance(word.value, ast.Name)), ""
    )
    action = _action(call, said.get("action", "store"))
    flags = tuple(name for name in names if name.startswith("-"))
    if not names or action in ("help", "version") or len(names) != len(call.args):
        return None
    long = next((flag for flag in flags if flag.startswith("--")), names[0])
    key = said["dest"] if isinstance(said.get("dest"), str) else long.lstrip("-").replace("-", "_")
    needed = said.get("required") is True or (not flags and said.get("nargs") not in ("?", "*"))
    implied = {"store_true": False, "store_false": True}.get(action)
    default = said.get("default", REQUIRED if needed else implied)
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    many = said.get("nargs") in MANY or isinstance(said.get("nargs"), int) or action in ("append", "extend")
    choices = said.get("choices")
    return Option(key, flags, action, many, default, tuple(choices) if isinstance(choices, list | tuple) else ())


def _action(call: ast.Call, said: Any) -> str:
    """By its name; BooleanOptionalAction is a class."""
    if isinstance(said, str):
        return said
    node = next(word.value for word in call.keywords if word.arg == "action")
    return "boolean" if ast.unparse(node).endswith("BooleanOptionalAction") else "store"


def _variables(script: Path) -> Iterator[Option]:
    body = modules.parsed(script).body
    if not any(isinstance(node, ast.Expr) and ast.unparse(node).startswith("exec(open(") for node in body):
        return
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                if isinstance(found := literal(value), bool | int | float | str):
                    yield Option(name, (f"--{name}",), "store", False, found)

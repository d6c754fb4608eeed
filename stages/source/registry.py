"""Stages by name: the built-in ones, those that other packages offer as `repro.stages` entry points, and by
`module:function` any function of a module that can be imported."""

import difflib
import importlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.stages.errors import ConfigError
from repro.stages.source import compiling, modules, project
from repro.stages.source.remembered import Remembered

if TYPE_CHECKING:
    from repro.stages.run import Run
    from repro.stages.source.flow import Reads

Stage = Callable[["Run"], Mapping[str, int | float | bool | str] | None]

BUILT_IN = {
    name: f"repro.stages.{name}:{name}"
    for name in ("make_dataset", "augment", "train", "predict", "evaluate", "export")
}
Known = tuple[dict[str, object], dict[str, tuple[Any, ...]]]  # key -> default; key -> the values that it may have
SET_UP = f"{modules.OURS}.running.determinism"  # reads keys before any stage is called
SCRIPT, AS_SCRIPT = "script:", "(script)"  # `"stage": "script:train.py"`, and the function that stands for it
RUNNER = f"{modules.OURS}.running.scripts"
OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


@cache
def available() -> dict[str, str]:
    """Stage name -> `module:function`. A built-in name can't be taken by another package."""
    return {point.name: point.value for point in entry_points(group="repro.stages")} | BUILT_IN


def locate(name: str, where: str = "config") -> str:
    """The `module:function` of a stage, without importing it.

    Raises:
        ConfigError: there is no such stage, module or function; the nearest name is offered.
    """
    if ":" in name:
        return _checked(name, where)
    if name not in available():
        available.cache_clear()  # a package may have been installed since
    stages = available()
    if name not in stages:
        near = difflib.get_close_matches(name, stages, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(sorted(stages))}"
        raise ConfigError(f"{where}: unknown stage {json.dumps(name)}; {hint}")
    return stages[name]


def _checked(name: str, where: str) -> str:
    """A `module:function` that stands in a config, if there is such a function."""
    if name.startswith(SCRIPT):
        return f"{_script(name, where)}:{AS_SCRIPT}"
    if not OWN.fullmatch(name):
        raise ConfigError(f'{where}: "stage": expected a name or module:function, got: {json.dumps(name)}')
    module, _, function = name.partition(":")
    file = modules.source(module)
    exported = modules.names(file) if file else []
    is_there = function in exported or "*" in exported
    if (why := modules.passed_over(module)) and (not is_there or modules.is_taken(module)):
        raise ConfigError(f'{where}: stage "{name}": {why}')
    if file is None:
        raise ConfigError(
            f'{where}: stage "{name}": no Python module {module} in {project.current()}, on PYTHONPATH or installed; '
            "submit, and start workers, in the folder where it lies, or set PYTHONPATH"
        )
    if not is_there:
        near = difflib.get_close_matches(function, exported, n=1)
        hint = f'did you mean "{module}:{near[0]}"?' if near else "define it there: def stage(run)"
        raise ConfigError(f'{where}: stage "{name}": {file} has no {function}; {hint}')
    return name


def _script(name: str, where: str) -> str:
    """The module that a script is, if there is one."""
    from repro.stages.source import scripts

    module = scripts.module_of(name, where)
    if why := modules.passed_over(module):
        raise ConfigError(f'{where}: stage "{name}": {why}')
    file = modules.source(module)
    if file is None or modules.is_installed(str(file)):
        raise ConfigError(
            f'{where}: stage "{name}": no {module}.py in {project.current()} or on PYTHONPATH; submit in the folder '
            "where it lies, or set PYTHONPATH"
        )
    return module


def package(name: str) -> str:
    """The package whose code a stage's belongs to (`modules.package_of`)."""
    return modules.package_of(locate(name).partition(":")[0])


def load(name: str) -> Stage:
    """The function of a stage; imports its module, torch and all."""
    module, _, function = locate(name).partition(":")
    if name not in BUILT_IN:
        compiling.compile_own_code()
        project.enter()
    if function == AS_SCRIPT:
        script: Stage = importlib.import_module(RUNNER).stage_of(name)
        return script
    stage: Stage = getattr(importlib.import_module(module), function)
    return stage


@lru_cache(maxsize=100)
def _keys(place: str, folders: tuple[str, ...], moment: int) -> Known:
    return _keys_now((place, folders))


def _read_keys(key: Any) -> tuple[Known, list[Path]]:
    from repro.stages.source.keys import code_of, known_keys, known_of
    from repro.stages.source.reach import reachable

    module, function = key[0].split(":")
    reads = _reads(module, function)
    known = known_keys(SET_UP) | _of_ranks(module) | known_of(reads.keys)
    files = [file for name in (SET_UP, module) for _, file in code_of(name)]
    files += [file for _, file in reachable(module)] if function == AS_SCRIPT else []
    return (known, reads.choices), files


_keys_now = Remembered(_read_keys)


def _reads(module: str, function: str) -> "Reads":
    from repro.stages.source import scripts
    from repro.stages.source.keys import followed

    return scripts.reads(module) if function == AS_SCRIPT else followed(module, function)


def _of_ranks(module: str) -> dict[str, object]:
    """The key that a stage knows by `RANKS = True` in its module: it is read before the stage is called."""
    from repro.stages.source.keys import constant

    return {"ranks": 1} if constant(module, "RANKS") is True else {}


def prefix_key(name: str) -> str | None:
    """The key after whose value a stage only stops earlier, byte for byte as the beginning of the run without it: what
    its module says by `PREFIX = "until"`. Checkpoints of the shorter run serve the longer one."""
    from repro.stages.source.keys import constant

    module, _, function = locate(name).partition(":")
    key = None if function == AS_SCRIPT else constant(module, "PREFIX")
    return key if isinstance(key, str) else None


def of_checkpoints(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config decides what a checkpoint holds: all but where the run stops."""
    key = prefix_key(str(config["stage"]))
    return {name: value for name, value in config.items() if name != key}


def keys(name: str, where: str = "config") -> dict[str, object]:
    """Key -> default of every config key that a stage's code, or the set-up of determinism, reads."""
    # For a second: one submit asks a thousand times; a notebook lives on while somebody edits.
    return _keys(locate(name, where), project.folders(), int(time.monotonic()))[0]


def check(config: Mapping[str, Any], where: str, allowed: Sequence[str] = (), now: bool = False) -> None:
    """See that a stage's code reads every key of a config, but for those allowed, and takes its value.

    Args:
        now: of the code as it is on the disk at this very moment; else it may be a second old.

    Raises:
        UnknownKey: a key is not read.
        ConfigError: there is no such stage, or a value is not one of those that it takes.
    """
    from repro.stages.source.keys import check_keys

    place = locate(str(config["stage"]), where)
    folders = project.folders()
    known, choices = _keys_now((place, folders)) if now else _keys(place, folders, int(time.monotonic()))
    check_keys(dict(config), known, where, allowed)
    for key, values in choices.items():
        if key in config and config[key] not in values:
            given = json.dumps(config[key], ensure_ascii=False)
            raise ConfigError(f'{where}: "{key}": expected one of {json.dumps(values)[1:-1]}, got: {given}')


def defaults(name: str) -> dict[str, list[object]]:
    """Key -> every default with which today's code of a stage reads it; `params.REQUIRED` and `COMPUTED` among them."""
    from repro.stages.source.keys import all_reads

    defaults = dict(all_reads(SET_UP))
    module, function = locate(name).split(":")
    for key, more in _reads(module, function).keys.items():
        defaults[key] = [*defaults.get(key, []), *more]
    return defaults | {key: [default] for key, default in _of_ranks(module).items()}


def first_keys(name: str) -> tuple[dict[str, Any], list[str]]:
    """For a first config: the keys that a stage itself reads, with the defaults that its source shows; and those that
    it needs and has no default of."""
    from repro.stages.source.flow import COMPUTED, REQUIRED

    module, function = locate(name).split(":")
    shown, needed = dict[str, Any](), list[str]()
    for key, given in _reads(module, function).keys.items():
        default = next((one for one in given if one not in (REQUIRED, COMPUTED)), None)
        if isinstance(default, bool | int | float | str):
            shown[key] = default
        elif isinstance(default, list | tuple) and all(isinstance(one, bool | int | float | str) for one in default):
            shown[key] = list(default)
        elif any(one is REQUIRED for one in given):
            needed.append(key)
    return shown, needed


def double_defaults(name: str) -> dict[str, list[object]]:
    """The keys that a stage's code reads with two literal defaults, and which: a run that reads both fails."""
    from repro.stages.source.flow import COMPUTED, REQUIRED

    found = {}
    for key, given in defaults(name).items() if not name.startswith(SCRIPT) else ():
        literals = {(type(one), repr(one)): one for one in given if one not in (REQUIRED, COMPUTED)}
        if len(literals) > 1:
            found[key] = list(literals.values())
    return found


def environment(name: str) -> tuple[str, ...]:
    """The variables of the worker's environment that a stage asks for: `ENVIRONMENT = ("AWS_*",)` in its module."""
    from repro.stages.source.keys import constant

    module = locate(name).partition(":")[0]
    return texts(constant(module, "ENVIRONMENT"), f"ENVIRONMENT of {module}")


def texts(value: object, where: str) -> tuple[str, ...]:
    """The texts of a constant in a stage's module; none if there is no such constant.

    Raises:
        ConfigError: it is no tuple or list of texts. `("AWS_*")` is a text, whose letters would be patterns.
    """
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, tuple | list) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f'{where}: expected a tuple of texts, such as ("AWS_*",) with its comma, got: {value!r}')
    return tuple(value)

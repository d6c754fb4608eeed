"""Stages by name: the built-in ones, and those that other packages offer as `repro.stages` entry points."""

import difflib
import importlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from stages.errors import ConfigError

if TYPE_CHECKING:
    from stages.run import Run

Stage = Callable[["Run"], Mapping[str, int | float] | None]

BUILT_IN = {
    name: f"stages.{name}:{name}" for name in ("make_dataset", "augment", "train", "predict", "evaluate", "export")
}


@cache
def available() -> dict[str, str]:
    """Stage name -> `module:function`. A built-in name can't be taken by another package."""
    return {point.name: point.value for point in entry_points(group="repro.stages")} | BUILT_IN


def locate(name: str, where: str = "config") -> str:
    """The `module:function` of a stage, without importing it.

    Raises:
        ConfigError: there is no such stage; the nearest name is offered.
    """
    if name not in available():
        available.cache_clear()  # a package may have been installed since
    stages = available()
    if name not in stages:
        near = difflib.get_close_matches(name, stages, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(sorted(stages))}"
        raise ConfigError(f"{where}: unknown stage {json.dumps(name)}; {hint}")
    return stages[name]


def package(name: str) -> str:
    """The top package of a stage's code."""
    return locate(name).partition(":")[0].partition(".")[0]


def load(name: str) -> Stage:
    """The function of a stage; imports its module, torch and all."""
    module, _, function = locate(name).partition(":")
    stage: Stage = getattr(importlib.import_module(module), function)
    return stage


@cache
def _keys(module: str) -> dict[str, object]:
    from stages.params import known_keys

    return known_keys("stages.determinism") | _of_ranks(module) | known_keys(module)


def _of_ranks(module: str) -> dict[str, object]:
    """The key that a stage knows by `RANKS = True` in its module: it is read before the stage is called."""
    from stages.params import constant

    return {"ranks": 1} if constant(module, "RANKS") is True else {}


def keys(name: str, where: str = "config") -> dict[str, object]:
    """Key -> default of every config key that a stage's code, or the set-up of determinism, reads."""
    return _keys(locate(name, where).partition(":")[0])


def defaults(name: str) -> dict[str, list[object]]:
    """Key -> every default with which today's code of a stage reads it; `params.REQUIRED` and `COMPUTED` among them."""
    from stages.params import reads

    found = dict(reads("stages.determinism"))
    module = locate(name).partition(":")[0]
    for key, more in reads(module).items():
        found[key] = [*found.get(key, []), *more]
    return found | {key: [default] for key, default in _of_ranks(module).items()}


def environment(name: str) -> tuple[str, ...]:
    """The variables of the worker's environment that a stage asks for: `ENVIRONMENT = ("AWS_*",)` in its module."""
    from stages.params import constant

    found = constant(locate(name).partition(":")[0], "ENVIRONMENT")
    return tuple(str(pattern) for pattern in found) if isinstance(found, tuple | list) else ()

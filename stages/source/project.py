"""The user's project: the folders whose modules a config may name as `module:function`.

Only the process of such a stage imports from them, and there they come before what is installed, as for
`python train.py`. The product's own processes never do: whatever lies there, they work.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.machinery import PathFinder
from pathlib import Path

# Loaded before the stage is: most of them can't be loaded twice in a process.
USED = ("fsspec", "matplotlib", "numpy", "PIL", "safetensors", "threadpoolctl", "torch")

_folders: tuple[str, ...] | None = None
_within: ContextVar[tuple[str, ...] | None] = ContextVar("project", default=None)


def folders() -> tuple[str, ...]:
    """Those of the block that this is in (`within`), or that `use` has set; else the current folder and what PYTHONPATH
    names, in their order."""
    return _within.get() or (here() if _folders is None else _folders)


def here() -> tuple[str, ...]:
    named = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    try:
        current = [os.getcwd()]  # noqa: PTH109
    except FileNotFoundError:  # it was removed
        current = []
    return tuple(dict.fromkeys([*current, *(os.path.abspath(place) for place in named)]))  # noqa: PTH100


def current() -> str:
    """The first of them, where a user looks first."""
    return next(iter(folders()), "the current folder, which is gone")


def elsewhere() -> tuple[str, ...]:
    """The folders that would be the project where this process is, while another one is (`within`)."""
    return tuple(place for place in here() if place not in folders()) if _within.get() else ()


def use(places: Sequence[str]) -> None:
    """Let the project be these folders, wherever this process is."""
    global _folders  # noqa: PLW0603 - one process executes one project
    _folders = tuple(places)


@contextmanager
def within(places: Sequence[str]) -> Iterator[None]:
    """Let the project be these folders in this thread until the end of the block; the same as before if there are none.

    A worker reads the source of many projects; it imports none.
    """
    before = _within.set(tuple(places) or _within.get())
    try:
        yield
    finally:
        _within.reset(before)


def enter() -> None:
    """From now on this process imports the project's modules before the installed ones.

    A module that was loaded before, for a library, and whose name the project has too, is loaded anew from there when
    it is imported next; whoever holds it keeps it. Some never are: `belongs_to_others`.
    """
    for name in USED:  # on the queue they are there already
        importlib.import_module(name)
    places = folders()
    sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
    for name in [name for name in _names_in(places) if name in sys.modules and not belongs_to_others(name)]:
        if _is_another(name):
            for module in [module for module in sys.modules if module.partition(".")[0] == name]:
                del sys.modules[module]


def belongs_to_others(name: str) -> bool:
    """Whether a top module of this name is never the project's: the standard library's, the product's, or one that the
    product itself uses in a stage's process."""
    return name in sys.stdlib_module_names or name in ("repro", "__main__", *USED)


def is_of_python(name: str) -> bool:
    """Whether a module is of the standard library."""
    return name.partition(".")[0] in sys.stdlib_module_names


def candidates(name: str) -> list[Path]:
    """What could be a top module of this name, in the first of the project's folders that has any such thing."""
    for place in folders():
        paths = [path for path in (Path(place, f"{name}.py"), Path(place, name)) if path.exists()]
        if paths:
            return paths
    return []


def _names_in(places: Sequence[str]) -> set[str]:
    """What could be a module there; a walk over the loaded ones would touch, and so copy, the pages of every one."""
    names = set[str]()
    for place in places:
        with suppress(OSError):  # a folder of PYTHONPATH need not be there
            names.update(entry.removesuffix(".py") for entry in os.listdir(place))  # noqa: PTH208
    return names


def _is_another(name: str) -> bool:
    """Whether the loaded module is not what would be imported now."""
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.origin != getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)

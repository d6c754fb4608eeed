"""Where modules lie and what they define, found without importing them."""

import ast
import importlib.util
import sys
import sysconfig
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from repro.stages.errors import ConfigError
from repro.stages.source import project

OURS = "repro.stages"  # the package of the built-in stages
PACKAGES = tuple(place for place in sys.path if place.endswith(("site-packages", "dist-packages")))
_PATHS = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
INSTALLED = tuple({f"{place}/" for place in (*_PATHS, *PACKAGES)})


def source(module: str) -> Path | None:
    """The file of a module; None if there is none, or if it is not Python."""
    spec = _spec(module)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def package_of(module: str) -> str:
    """The top package, or top module, whose code belongs together with a module's."""
    return OURS if f"{module}.".startswith(f"{OURS}.") else module.partition(".")[0]


def folder(package: str) -> Path | None:
    """The folder of a package (`package_of`), or the one in which a top module lies."""
    spec = _spec(package)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin).parent if spec.origin else None


def lie_together(module: str, other: str) -> bool:
    """Whether both are of one package; or one is a file of no package, and the other lies beside it, or below."""
    ours, theirs = package_of(module), package_of(other)
    if ours == theirs:
        return True
    if project.belongs_to_others(theirs.partition(".")[0]):
        return False
    file = source(module) if ours == module else None
    if file is None or file.name == "__init__.py" or is_installed(str(file)):
        return False
    place = folder(theirs)
    return place is not None and file.parent in (place, place.parent)


def is_taken(module: str) -> bool:
    """Whether the name of a top module is one that the project's own can't have."""
    return project.belongs_to_others(module.partition(".")[0])


def passed_over(module: str) -> str:
    """Why a module of the project is not the one that an import takes; empty if it is, or if there is none."""
    top = module.partition(".")[0]
    candidates, taken = project.candidates(top), _top_spec(top)
    if not candidates or taken is None:
        return ""
    place = taken.origin or next(iter(taken.submodule_search_locations or ()), "?")
    if is_taken(module):
        whose = "Python's standard library" if top in sys.stdlib_module_names else "the product"
        return f"{whose} has a module of that name ({place}), which is taken instead of {candidates[0]}; rename yours"
    if any(Path(place).is_relative_to(path) for path in candidates):
        return ""
    return f"{place} is taken instead of {candidates[0]}, which has no __init__.py; create one there, or rename it"


def is_installed(place: str) -> bool:
    """Whether a path is below where the standard library and packages are installed."""
    return f"{place}/".startswith(INSTALLED)


def elsewhere() -> tuple[str, ...]:
    """Where no module of a run comes from whose code came with it: what lies about its worker and is not installed."""
    return tuple(place for place in project.elsewhere() if not is_installed(place))


def names(file: Path) -> list[str]:
    """What the top level of a file defines, imports or assigns; `*` if it takes all of another module.

    Raises:
        ConfigError: it is no Python.
    """
    return _names(file, file.stat().st_mtime_ns)


def parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else 1
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{file}:{line}: the stage's code can't be read: {why}") from error


def _spec(module: str) -> ModuleSpec | None:
    """As the stage's process would find it, the project's folders first. Python's own `find_spec` of a dotted name
    would import its parents, and torch with them."""
    name, *rest = module.split(".")
    spec = _top_spec(name)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        try:
            spec = PathFinder.find_spec(name, spec.submodule_search_locations)
        except KeyError:  # inside a namespace package, whose places only its import would tell
            return None
    return spec


def _top_spec(name: str) -> ModuleSpec | None:
    if not project.belongs_to_others(name):
        places = project.folders()
        rest = [place for place in sys.path if place not in (*places, *elsewhere())]
        if spec := PathFinder.find_spec(name, [*places, *rest]):
            return spec
    try:
        return importlib.util.find_spec(name)  # also through the finders of editable installs
    except ValueError:  # a module that was made by hand
        return None


@lru_cache(maxsize=1000)
def _names(file: Path, modified: int) -> list[str]:
    names: list[str] = []
    waiting: list[ast.AST] = [parsed(file)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
                continue
            case ast.alias(name=name, asname=asname):
                names.append(asname or name.partition(".")[0])
            case ast.Name(id=name, ctx=ast.Store()):
                names.append(name)
        waiting += ast.iter_child_nodes(node)
    return names

"""What of the project's source a module can reach."""

from collections.abc import Iterator
from pathlib import Path

from repro.stages.source import keys, modules, project


def reachable(module: str) -> Iterator[tuple[str, Path]]:
    """Name and file of a module, and of all that it imports, and so on, of what is not installed. Of the product's own
    modules only for a stage of the product: for others its version stands, and of installed ones their own package."""
    ours = modules.package_of(module) == modules.OURS
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or project.is_of_python(name):
            continue
        seen.add(name)
        if (modules.package_of(name) == modules.OURS) != ours or (file := modules.source(name)) is None:
            continue
        if ours or modules.package_of(name) == modules.package_of(module) or not modules.is_installed(str(file)):
            yield name, file
            waiting += keys.imports_of(name, file)
            waiting += [name.rpartition(".")[0]] if "." in name else []  # its package's own file runs, too


def own_files(module: str) -> Iterator[tuple[str, Path]]:
    """The same, of the user's own alone: nothing that is installed."""
    return ((name, file) for name, file in reachable(module) if not modules.is_installed(str(file)))

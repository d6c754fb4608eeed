"""A user's own modules, as they are imported, are never older than their files."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from typing import Any

from repro.stages.source.modules import is_installed


def compile_own_code() -> None:
    """From now on compile anew what is imported from where nothing is installed.

    Python takes its compiled copy of a file for good while the file's size and its time in whole seconds are the same:
    a run could compute with the code of the edit before the last.
    """
    if _own_folder not in sys.path_hooks:
        sys.path_hooks.insert(0, _own_folder)
        for known in [path for path in sys.path_importer_cache if not is_installed(path)]:
            del sys.path_importer_cache[known]


class _Compiling(SourceFileLoader):
    def path_stats(self, path: Any) -> Any:
        """Python's own way to say that there is no telling whether a compiled copy is good."""
        raise OSError(f"{path}: no compiled copy is used")


_finder = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (_Compiling, SOURCE_SUFFIXES))


def _own_folder(path: str) -> Any:
    if is_installed(path):
        raise ImportError(f"{path}: its compiled copies are good")
    return _finder(path)

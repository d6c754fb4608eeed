"""What a user's own Python imports: all of it from here. Nothing is imported before it is used.

For the author of a stage: `StageError`, `StageRun`, `main`, `ranks` (`docs/stages.md`). In a notebook: `frame`, `diff`,
`curves`, `find`, `overview`, `run`, `search`, `submit`, `wait`, `Run` (`docs/python.md`). What a mistake raises:
`ReproError` and its kinds.
"""

TYPE_CHECKING = False  # not from `typing`: even that would be imported whenever a command starts

if TYPE_CHECKING:
    from repro.notebook import Run, curves, diff, find, frame, overview, run, search, submit, wait
    from repro.stages.errors import ReproError, RunFailed, StageError, Unreachable
    from repro.stages.run import Run as StageRun
    from repro.stages.running import ranks
    from repro.stages.running.arguments import main

_MODULES = {
    "repro.notebook": ("Run", "curves", "diff", "find", "frame", "overview", "run", "search", "submit", "wait"),
    "repro.stages.errors": ("ReproError", "RunFailed", "StageError", "Unreachable"),
    "repro.stages.running.arguments": ("main",),
}
_PLACES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_PLACES |= {"StageRun": ("repro.stages.run", "Run"), "ranks": ("repro.stages.running.ranks", "")}

__all__ = [
    "ReproError",
    "Run",
    "RunFailed",
    "StageError",
    "StageRun",
    "Unreachable",
    "curves",
    "diff",
    "find",
    "frame",
    "main",
    "overview",
    "ranks",
    "run",
    "search",
    "submit",
    "wait",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'repro' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    place = import_module(module)
    return getattr(place, attribute) if attribute else place


def __dir__() -> list[str]:
    return sorted(__all__)

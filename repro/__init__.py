"""What a user's own Python imports: all of it from here. Nothing is imported before it is used.

For the author of a stage: `StageError`, `StageRun`, `main` (`docs/stages.md`). In a notebook: `frame`, `diff`,
`curves`, `run`, `submit`, `wait` (`docs/python.md`). What a mistake raises: `ReproError` and its kinds.
"""

TYPE_CHECKING = False  # not from `typing`: even that would be imported whenever a command starts

if TYPE_CHECKING:
    from repro.notebook import Run, curves, diff, frame, run, submit, wait
    from repro.stages.errors import ReproError, RunFailed, StageError, Unreachable
    from repro.stages.run import Run as StageRun
    from repro.stages.running.arguments import main

_NOTEBOOK = ("Run", "curves", "diff", "frame", "run", "submit", "wait")
_PLACES = dict.fromkeys(_NOTEBOOK, "repro.notebook")
_PLACES |= dict.fromkeys(("ReproError", "RunFailed", "StageError", "Unreachable"), "repro.stages.errors")
_PLACES |= {"StageRun": "repro.stages.run", "main": "repro.stages.running.arguments"}

__all__ = [
    "ReproError",
    "Run",
    "RunFailed",
    "StageError",
    "StageRun",
    "Unreachable",
    "curves",
    "diff",
    "frame",
    "main",
    "run",
    "submit",
    "wait",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'repro' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), "Run" if name == "StageRun" else name)


def __dir__() -> list[str]:
    return sorted(__all__)

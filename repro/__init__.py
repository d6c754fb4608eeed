"""`import repro` in a notebook: frame, diff, curves, run, submit, wait. Nothing is imported before it is used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.notebook import Run, curves, diff, frame, run, submit, wait

__all__ = ["Run", "curves", "diff", "frame", "run", "submit", "wait"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("repro.notebook"), name)
    raise AttributeError(f"module 'repro' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Packages that only some users install, and what to install where one is missing."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from repro.stages.errors import ReproError


@contextmanager
def needs(what: str, package: str, extra: str) -> Iterator[None]:
    """Around the imports that only an extra makes possible."""
    try:
        yield
    except ImportError as error:
        raise ReproError(f'{what} {package}: pip install "repro-queue[{extra}]"') from error


def needs_metrics() -> AbstractContextManager[None]:
    return needs("metrics need", "prometheus-client", "metrics")


def needs_page() -> AbstractContextManager[None]:
    return needs("the page needs", "starlette, uvicorn and jinja2", "ui")

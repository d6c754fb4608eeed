"""Packages that only some users install, and what to install where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from repro.stages.errors import ReproError


@contextmanager
def needs_metrics() -> Iterator[None]:
    """Around the imports that only the extra `metrics` makes possible."""
    try:
        yield
    except ImportError as error:
        raise ReproError('metrics need prometheus-client: pip install "repro-queue[metrics]"') from error

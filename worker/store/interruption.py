"""Transfers that can be ended: whoever moves bytes asks, between one piece and the next, whether they are still wanted.

A cancel, a lease that was lost and a worker that is told to leave do not wait for gigabytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


class Interrupted(Exception):
    """The bytes are not wanted any more."""


@contextmanager
def interrupted_if(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Let transfers of the block end with Interrupted once `unwanted` is true."""

    def check() -> None:
        if unwanted():
            raise Interrupted

    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def checker() -> Callable[[], None]:
    """What to call between two pieces, from any thread; it raises Interrupted."""
    return _check.get()

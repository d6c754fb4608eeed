"""Signals that ask a worker to leave. Their handler only counts and rings: the worker's loop does the rest."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from repro.worker.wakeup import Bell

AT_ONCE = (signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Ctrl-C: claim no more, finish, leave. Again, or SIGTERM, or SIGHUP of a terminal that is closed: hand the runs
    back and leave."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.count = 0

    @property
    def ask_to_leave(self) -> bool:
        return self.count > 0

    @property
    def ask_to_hand_back(self) -> bool:
        return self.count > 1

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        self.count += 1 if number == signal.SIGINT else 2
        self._bell.set()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Signals come here; afterwards, where they went before."""
        before = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, *AT_ONCE)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

"""What a worker shows: bars on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from repro.stages.plain import figures

if TYPE_CHECKING:
    from repro.worker.attempt.attempt import Attempt
    from repro.worker.attempt.outcome import Outcome


class Console(Protocol):
    """Where a worker says what it does."""

    def say(self, text: str) -> None: ...
    def started(self, attempt: "Attempt") -> None: ...
    def tick(self, attempts: "list[Attempt]") -> None: ...
    def ended(self, attempt: "Attempt", outcome: "Outcome", seconds: float) -> None: ...
    def expired(self, count: int) -> None: ...
    def close(self) -> None: ...


class LineConsole:
    """One line an event, with the time, fit for a log file."""

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def started(self, attempt: "Attempt") -> None:
        self.say(f"{attempt.name}: {attempt.run['stage']} started (attempt {attempt.run['attempts']})")

    def tick(self, attempts: "list[Attempt]") -> None:
        """Progress does not belong into a log."""

    def ended(self, attempt: "Attempt", outcome: "Outcome", seconds: float) -> None:
        self.say(f"{attempt.name}: {outcome} after {seconds:.1f} s")

    def expired(self, count: int) -> None:
        """A worker has died somewhere, and with it so many attempts."""
        self.say(f"{count} run{'s' * (count != 1)} of silent workers taken away from them")

    def close(self) -> None:
        """Nothing is held."""


class LastingConsole:
    """Passes on to another console, whatever becomes of it: nobody need look on for a worker to work.

    Its terminal may be closed, its pipe broken, the disk under its log full.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def __getattr__(self, name: str) -> Callable[..., None]:
        show = getattr(self._console, name)

        def show_if_possible(*arguments: Any) -> None:
            with suppress(Exception):
                show(*arguments)

        return show_if_possible


class BarConsole(LineConsole):
    """A progress bar for each running run, the lines of ended ones above them."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, TextColumn("{task.fields[figures]}"), transient=True)
        self._tasks: dict[str, Any] = {}
        self._bars.start()

    def say(self, text: str) -> None:
        self._bars.console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False, markup=False)

    def started(self, attempt: "Attempt") -> None:
        self._tasks[attempt.token] = self._bars.add_task(attempt.name, total=None, figures="")

    def tick(self, attempts: "list[Attempt]") -> None:
        for attempt in attempts:
            if (progress := attempt.progress) and attempt.token in self._tasks:
                done, total, shown = progress["step"], progress["total"], figures(progress["metrics"])
                self._bars.update(self._tasks[attempt.token], completed=done, total=total, figures=shown)

    def ended(self, attempt: "Attempt", outcome: "Outcome", seconds: float) -> None:
        self._bars.remove_task(self._tasks.pop(attempt.token))
        super().ended(attempt, outcome, seconds)

    def close(self) -> None:
        self._bars.stop()

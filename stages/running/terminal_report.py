"""What a run without a queue prints: how far it is, what it did not declare, its folder or what went wrong."""

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from repro.stages.errors import ReproError, Stopped, describe
from repro.stages.run import Metrics
from repro.stages.running.execution import Result


def exit_code(run: Callable[[], Path]) -> int:
    """Run, print the folder, or else one line of what went wrong; returns the process' exit code."""
    try:
        _say(str(run()), sys.stdout)
    except ReproError as error:
        return _complain(str(error), error.exit_code)
    except Stopped as stopped:
        return _complain(f"{stopped}; the same command with --resume goes on", 1)
    except Exception as error:  # the stage's own: its author needs the way to it, a user the last line
        with contextlib.suppress(Exception):
            traceback.print_exc()
        described = describe(error)
        return _complain(f"{described['type']}: {described['message']}", 1)
    return 0


def warn(result: Result) -> None:
    """Of keys that nothing read, and of what the stage touched without declaring it."""
    if result.unread:
        note(f"never read: {', '.join(result.unread)}")
    for kind, seen in result.environment.get("undeclared", {}).items():
        note(f"not declared: {kind}: {', '.join(seen)}")


def note(line: str) -> None:
    """One line for whoever looks on."""
    _say(line, sys.stderr)


def progress(step: int, total: int, metrics: Metrics) -> None:
    if sys.stderr.isatty() or step == total:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        print(
            f"\r{step}/{total}  {figures}\033[K" if sys.stderr.isatty() else f"{step}/{total}  {figures}",
            end="" if sys.stderr.isatty() and step < total else "\n",
            file=sys.stderr,
            flush=True,
        )


def _complain(line: str, code: int) -> int:
    note(" ".join(("error:", *line.split())))
    return code


def _say(line: str, stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the stage may have closed it
        print(line, file=stream, flush=True)

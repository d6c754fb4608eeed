"""What a run without a queue prints: how far it is, what it did not declare, its folder or what went wrong."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from repro.stages.errors import ReproError, Stopped, refusal
from repro.stages.plain import done, figures
from repro.stages.run import Metrics
from repro.stages.running.execution import Result


def exit_code(run: Callable[[], Path]) -> int:
    """Run, print the folder, or else one line of what went wrong; returns the process' exit code."""
    try:
        print(run())
    except ReproError as error:
        return _complain(str(error), error.exit_code)
    except Stopped as stopped:
        return _complain(f"{stopped}; the same command with --resume goes on", 1)
    except Exception as error:  # nobody foresaw it: who mends it needs the way to it, a user the last line
        if isinstance(error, OSError) and (told := refusal(error)):
            return _complain(told, 1)
        traceback.print_exc()
        return _complain(f"{type(error).__name__}: {error}", 1)
    return 0


def remarks(result: Result, empty: Sequence[str]) -> Iterator[str]:
    """What a user should notice: keys that nothing read, what the stage touched without declaring it, and folders with
    nothing in them, which are no outputs."""
    if result.unread:
        yield f"never read: {', '.join(result.unread)}"
    for kind, seen in result.environment.get("undeclared", {}).items():
        yield f"not declared: {kind}: {', '.join(seen)}"
    for folder in empty:
        yield f"not kept: {folder} is an empty folder, and a store has files alone"


def progress(step: int, total: int | None, metrics: Metrics) -> None:
    if sys.stderr.isatty() or step == total:
        line = f"{done(step, total)}  {figures(metrics)}"
        print(
            f"\r{line}\033[K" if sys.stderr.isatty() else line,
            end="" if sys.stderr.isatty() and (total is None or step < total) else "\n",
            file=sys.stderr,
            flush=True,
        )


def _complain(line: str, code: int) -> int:
    print("error:", *line.split(), file=sys.stderr)
    return code

"""A run in a process of its own: what happens in it, from its first line to its last.

With a queue the worker's fork server forks it, without one the command itself does (`compute`). It is the same process:
its folder is the run's, its arguments are the stage's name, it ends as a plain Python process does, and what is still
there of what it started ends with it. So an `os._exit` or a crash of a stage is an error like any other.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from repro.stages import files
from repro.stages.errors import RankError, ReproError, RunFailed, StageError, Stopped, describe
from repro.stages.run import Run
from repro.stages.running import ending, process_tree
from repro.stages.running.execution import Result, execute, result_of
from repro.stages.source import project

PASSED_ON = (signal.SIGTERM, signal.SIGINT)
ERRORS = {"StageError": StageError, "RankError": RankError}


def answer(run: Run) -> dict[str, Any]:
    """Call the stage in this process, which is forked for it and ends after it; what came of it, as JSON holds it.

    Returns:
        `result`, `error` or `stopped`, in a dictionary.
    """
    process_tree.adopt_orphans()  # so that no other run's end takes them for its own
    ending.begin()
    _be_nowhere_else(run)
    try:
        return {"result": vars(execute(run, ending.finish))}
    except Stopped as stopped:
        with contextlib.suppress(Exception):  # its log may be closed
            print(stopped)
        told: dict[str, Any] = {"stopped": stopped.step}
    except BaseException as error:  # sys.exit() in a stage is no way to end it well
        told = {"error": describe(error)}
        if not isinstance(error, ReproError):
            with contextlib.suppress(Exception):  # its log may be closed, or lie on a full disk
                traceback.print_exc()
    ending.finish()
    return told


def compute(run: Run) -> Result:
    """Let a child of this process compute the run.

    Raises:
        StageError: the stage's own. Whatever else it raises comes as RunFailed, its traceback is on stderr.
        RankError: one of several ranks ended badly.
        Stopped: it was told to stop, and has left a checkpoint.
        RunFailed: its process ended without a word.
    """
    process_tree.adopt_orphans()
    before = set(process_tree.children(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        place = Path(folder) / "answer.json"
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            process_tree.die_with(parent)
            leave(run, place)
        with _passing_on(pid) as signals:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            process_tree.end_orphans(before)
        return _verdict(read_answer(place), code, signals)


def leave(run: Run, place: Path, tell: Callable[[dict[str, Any]], None] = lambda told: None) -> NoReturn:
    """Compute the run, leave what came of it in a file at `place`, and end this process.

    `tell`: another way, for where no file can be written.
    """
    code = 1
    try:
        told = answer(run)
        try:
            # No open file, pipe or stream will do: a stage may have closed them all.
            files.create(place, json.dumps(told).encode())
            code = 0
        except OSError as error:  # a full disk
            tell(told if "error" in told else {"error": describe(error)})
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def read_answer(place: Path) -> dict[str, Any]:
    """What a process has left there; nothing if it ended before that."""
    try:
        return dict(json.loads(place.read_bytes()))
    except (OSError, ValueError):
        return {}


def _verdict(told: dict[str, Any], code: int, signals: list[int]) -> Result:
    if code < 0 and -code in signals:  # it was told to end, and has: so does this one
        signal.signal(-code, signal.SIG_DFL)
        signal.raise_signal(-code)
    if "stopped" in told:
        raise Stopped(told["stopped"])
    if error := told.get("error"):
        if error["type"] == "KeyboardInterrupt":
            raise KeyboardInterrupt
        if known := ERRORS.get(error["type"]):
            raise known(error["message"])
        raise RunFailed(f"{error['type']}: {error['message']}")
    if code or "result" not in told:
        ended = f"was killed by {signal_name(-code)}" if code < 0 else f"left with code {code} before its end"
        raise RunFailed(f"the stage's process {ended}")
    return result_of(told["result"])


def _in_front_of_a_terminal() -> bool:
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # there is none
        return False


def signal_name(number: int) -> str:
    """`SIGSEGV`, `SIGRTMIN+3`: those of real time have no names of their own."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _be_nowhere_else(run: Run) -> None:
    """The run's folder and its stage's name, in the place of those of whoever started this process."""
    project.use(project.folders())
    here = os.getcwd()  # noqa: PTH109
    sys.path[:] = [place or here for place in sys.path]
    sys.argv[:] = [str(run.params.config["stage"])]
    os.chdir(run.out)


@contextmanager
def _passing_on(pid: int) -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C are the child's affair; yields the signals that have come."""
    signals: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        signals.append(number)
        if number == signal.SIGTERM or not _in_front_of_a_terminal():  # whose Ctrl-C reaches the child by itself
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

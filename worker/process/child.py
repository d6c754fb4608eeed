"""Inside a run's own process: take the request, call the stage, report; then leave without returning."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from repro.stages.running.execution import Result

PR_SET_PDEATHSIG = 1  # Linux, prctl(2): the child gets this signal when its parent dies
_libc = ctypes.CDLL(None)
REPORT_EVERY = 0.1  # seconds; a stage may call `progress` at every step


def main(message: bytes, report: int, log: int, parent: int, code_as_of: Mapping[Path, int]) -> NoReturn:
    """Run the request that a message names; lines of JSON go to `report`, all output of the stage to `log`."""
    code = 1
    try:
        _settle_in(log, parent)
        order = json.loads(message)
        os.environ.update(order["environment"])
        request = json.loads((Path(order["work"]) / "request.json").read_bytes())
        os.chdir(request["out"])
        forget_what_changed("repro.stages", code_as_of)
        code = _run(request, report)
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        # The log may lie on a full disk, or the stage have closed it: the end of a run is no reason to fail.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)  # what a process does at its end has been done: see `ending`


def _settle_in(log: int, parent: int) -> None:
    os.setpgid(0, 0)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(handle, place)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def forget_what_changed(package: str, since: Mapping[Path, int]) -> None:
    """Drop the modules of a package, to be imported anew, if a file of one is not as it was at the import."""
    # Asks for these files alone: a walk over all modules would touch, and so copy, the pages of every one.
    if any(_modified(file) != then for file, then in since.items()):
        for name in _loaded(package):
            del sys.modules[name]


def modification_times(package: str) -> dict[Path, int]:
    """File -> nanoseconds, for every module of a package that has been imported; -1 for a file that is gone."""
    files = [Path(file) for name in _loaded(package) if (file := getattr(sys.modules[name], "__file__", None))]
    return {file: _modified(file) for file in files}


def _loaded(package: str) -> list[str]:
    return [name for name in sys.modules if name == package or name.startswith(f"{package}.")]


def _modified(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _run(request: dict[str, Any], report: int) -> int:
    # All that this needs is imported before the project's folder comes first on the path.
    from repro.stages.errors import Stopped, describe
    from repro.stages.params import Params
    from repro.stages.run import Run
    from repro.stages.running import ending
    from repro.stages.running.checkpoints import Checkpoints
    from repro.stages.running.execution import execute
    from repro.stages.source import project, registry

    def saved(step: int) -> None:
        _write_line(report, {"checkpoint": step})

    project.use(request["project"])
    ending.forget_inherited()
    ending.adopt_orphans()

    run = Run(
        name=request["name"],
        params=Params(request["config"]),
        inputs={name: Path(folder) for name, folder in request["inputs"].items()},
        out=Path(request["out"]),
        data=request["data"],
        hermetic=request["hermetic"],
        ending=ending.finish,
        report=_ProgressReport(report),
        checkpoints=Checkpoints(
            Path(request["checkpoints"]), request["fingerprint"], registry.package(request["config"]["stage"]), saved
        ),
    )
    try:
        _write_result(execute(run), report)
    except Stopped as stopped:
        print(stopped)
        _write_line(report, {"stopped": stopped.step})
        ending.flush_open_files()
    except BaseException as error:  # sys.exit() in a stage is no way to end it well
        _write_line(report, {"error": describe(error)})  # before the log, which may lie on a full disk
        with contextlib.suppress(Exception):  # an error may be one that can't be shown, and the log be closed
            traceback.print_exc()
        ending.finish()
        return 1
    return 0


def _write_result(result: "Result", report: int) -> None:
    """To the worker all of it, to the log what a user should notice."""
    _write_line(report, {"result": vars(result)})
    with contextlib.suppress(Exception):  # the stage may have closed or replaced it
        if result.unread:
            print(f"never read: {', '.join(result.unread)}")
        for kind, names in result.environment.get("undeclared", {}).items():
            print(f"not declared: {kind}: {', '.join(names)}")


class _ProgressReport:
    """Passes progress on, at most so often, and always the last step."""

    def __init__(self, report: int) -> None:
        self.report, self.next = report, 0.0

    def __call__(self, step: int, total: int, metrics: dict[str, Any]) -> None:
        now = time.monotonic()
        if now >= self.next or step == total:
            self.next = now + REPORT_EVERY
            _write_line(self.report, {"progress": {"step": step, "total": total, "metrics": metrics}})


def _write_line(report: int, line: dict[str, Any]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(report, data) :]

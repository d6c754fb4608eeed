"""Inside a run's own process: take the request, call the stage, report; then leave without returning."""

import contextlib
import fcntl
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from repro.stages.running import process_tree

ANSWER = "answer.json"  # in the attempt's folder: what came of the run
REPORT_EVERY = 0.1  # seconds; a stage may call `progress` at every step
HIGH = 500  # the number of an open file, below the usual limit of 1,024


def main(message: bytes, report: int, log: int, parent: int, code_as_of: Mapping[Path, int]) -> NoReturn:
    """Run the request that a message names; lines of JSON go to `report`, all output of the stage to `log`."""
    try:
        _settle_in(log, parent)
        order = json.loads(message)
        os.environ.update(order["environment"])
        work = Path(order["work"])
        request = json.loads((work / "request.json").read_bytes())
        forget_what_changed("repro.stages", code_as_of)
        _run(request, report, work)
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        os._exit(1)


def _settle_in(log: int, parent: int) -> None:
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    process_tree.die_with(parent)
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


def _run(request: dict[str, Any], report: int, work: Path) -> NoReturn:
    # All that this needs is imported before the project's folder comes first on the path.
    from repro.stages.own_files import CURVES
    from repro.stages.params import Params
    from repro.stages.run import Run
    from repro.stages.running import own_process
    from repro.stages.running.checkpoints import Checkpoints
    from repro.stages.source import project, registry

    pipe = _Report(report)
    project.use(request["project"])
    sys.path[:] = [place for place in sys.path if place not in request["elsewhere"]]
    run = Run(
        name=request["name"],
        params=Params(request["config"]),
        inputs={name: Path(folder) for name, folder in request["inputs"].items()},
        out=Path(request["out"]),
        data=request["data"],
        hermetic=request["hermetic"],
        report=pipe.progress,
        checkpoints=Checkpoints(
            Path(request["checkpoints"]),
            request["of_checkpoints"],
            registry.locate(request["config"]["stage"]).partition(":")[0],
            lambda step: pipe.write({"checkpoint": step}),
        ),
        curve_file=work / CURVES,
    )
    own_process.leave(run, work / ANSWER, pipe.write)


class _Report:
    """The pipe to the worker: what it tells while the run is under way. No run depends on it."""

    def __init__(self, handle: int) -> None:
        # Up here no stage's own file comes to lie, as it would at a low number that the stage has closed.
        self.handle = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, HIGH)
        os.close(handle)
        self._status, self._next, self._odd = os.fstat(self.handle), 0.0, set[str]()

    def progress(self, step: int, total: int | None, metrics: dict[str, Any]) -> None:
        """At most so often; and always the last step, and a figure that is not finite for the first time."""
        now = time.monotonic()
        odd = {name for name, value in metrics.items() if isinstance(value, float) and not math.isfinite(value)}
        is_new = not odd <= self._odd
        self._odd |= odd
        if now >= self._next or step == total or is_new:
            self._next = now + REPORT_EVERY
            self.write({"progress": {"step": step, "total": total, "metrics": metrics}})

    def write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        try:
            if os.path.samestat(os.fstat(self.handle), self._status):  # the stage may have closed it
                while data:
                    data = data[os.write(self.handle, data) :]
        except OSError:
            return

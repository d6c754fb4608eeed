"""A worker that is struck at a labelled step, and the stage of the runs that it is struck in.

`python -m tests.worker.steps KILL worker ...` is `repro worker ...`, but a run that is named after a step below
ends (or, with STOP, stops) its worker right after that step. The product has no hooks: its functions are wrapped.

With STRIKES, a folder, in the environment, a worker is struck at a step of any run for which there is a file
`STEP@RUN` there; the file is gone then, so that the run's next worker is not struck again.
"""

import functools
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

STRIKES = os.environ.get("STRIKES")
OUTPUTS = ("deep/noise.bin", "text.txt")
EARLY = ["repro-config.json"]
FULL = [*OUTPUTS, "repro-config.json"]
STEPS = {  # in their order, with the files that lie in the attempt's folder at that time
    "claimed": None,
    "folder-made": [],
    "config-there": EARLY,
    "inputs-pulled": EARLY,
    "stage-runs": EARLY,
    "stage-ended": EARLY,
    "outputs-pushed": FULL,
    "log-pushed": [*FULL, "repro-log.txt"],
    "mark-there": [*FULL, "repro-log.txt", "repro-run.json"],
    "completed": [*FULL, "repro-log.txt", "repro-run.json"],
}


def work(run):
    """Two files from the config and the inputs. The first attempt that finds a file of its name in `hold` hangs."""
    texts = [(folder / "text.txt").read_text() for folder in run.inputs.values()]
    with run.open("text.txt") as file:
        file.write("".join(texts) + run.params["text"])
    with run.open("deep/noise.bin", "xb") as file:
        file.write(random.randbytes(300_000))
    hold = Path(run.params["hold"]) / run.name
    with suppress(FileNotFoundError):
        hold.unlink()
        helper = subprocess.Popen(["sleep", "600"])
        hold.with_suffix(".held").write_text(json.dumps([os.getpid(), helper.pid]))
        run.progress(1, 2)
        time.sleep(600)
    return {"length": len(run.params["text"])}


def install(folder):
    """Offer the stage as another distribution in a folder that is on the PYTHONPATH."""
    (folder / "steps.py").write_text(Path(__file__).read_text())
    info = folder / "steps-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steps\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\ntoy_steps = steps:work\n")


def _after(owner, attribute, step_of):
    """Strike when a call has returned, if `step_of(result, *arguments)` and the name of the run are the same step."""
    call = getattr(owner, attribute)

    @functools.wraps(call)
    def wrapped(*arguments):
        result = call(*arguments)
        _strike_at(*step_of(result, *arguments))
        return result

    setattr(owner, attribute, wrapped)


def _strike_at(step, run):
    """Strike, if it is this run's turn at this step."""
    if _is_due(step, run):
        signal.raise_signal(signal.Signals[f"SIG{sys.argv[1]}"])  # to this thread: not one line more is run


def _is_due(step, run):
    if STRIKES is None:
        return step == run
    with suppress(FileNotFoundError):
        _strike_file(step, run).unlink()
        return True
    return False


def _strike_file(step, run):
    return Path(STRIKES) / f"{step}@{run}"


def _when_the_stage_is_heard(attempt):
    while not attempt.progress:
        time.sleep(0.01)
    _strike_at("stage-runs", attempt.name)


def _started(call):
    def wrapped(attempt, child):
        call(attempt, child)
        if _strike_file("stage-runs", attempt.name).exists() if STRIKES else attempt.name == "stage-runs":
            threading.Thread(target=_when_the_stage_is_heard, args=[attempt], daemon=True).start()

    return wrapped


def main():
    from repro.cli import main as repro
    from repro.scheduler import runs
    from repro.scheduler.runs import expressions
    from repro.worker.attempt.attempt import Attempt
    from repro.worker.attempt.executor import Executor
    from repro.worker.healing import Healer
    from repro.worker.store.store import Store

    if "FAKETIME" in os.environ:  # libfaketime 0.9.10 breaks the call by which Python sleeps, but not this one
        time.sleep = lambda seconds: select.select([], [], [], seconds)
    created = {
        "repro-config.json": "config-there",
        "repro-run.json": "mark-there",
        "whole.json": "checkpoint-whole",
        "repro-code.diff": "diff-there",
    }

    def run_of(location):
        return location.partition("/repro-checkpoints/")[0].rpartition("/")[2].rpartition("-")[0]

    def pushed(location, names):
        if "/repro-checkpoints/" in location:
            return "checkpoint-pushed"
        return "log-pushed" if names == ["repro-log.txt"] else "outputs-pushed"

    _after(runs, "claim", lambda run, *_: ("claimed", run and run["_id"]))
    _after(Store, "open_attempt", lambda _, store, location: ("folder-made", run_of(location)))
    _after(Store, "create", lambda _, store, location, name, data: (created[name], run_of(location)))
    _after(Executor, "_prepare", lambda _, executor, attempt, *more: ("inputs-pulled", attempt.name))
    Attempt.started = _started(Attempt.started)
    _after(Executor, "_watch", lambda _, executor, attempt, *more: ("stage-ended", attempt.name))
    _after(Store, "push", lambda _, store, location, folder, names: (pushed(location, names), run_of(location)))
    _after(runs, "complete", lambda _, db, name, *more: ("completed", name))
    if STRIKES:
        expressions.BACKOFF = 0.5  # among so many faults a run meets one after the other
    elif sys.argv[1] == "KILL":
        Healer.heal = lambda healer: None  # what a victim leaves is not for the other victims
    repro(sys.argv[2:])


if __name__ == "__main__":
    main()

"""Trainings that are killed, again and again, at seeded moments; then their bytes beside an undisturbed one's.

`python -m tests.stages.kills FOLDER KILLS SEED CONFIG` makes undisturbed and killed runs of a config on a dataset in
FOLDER until there were so many kills, and prints a JSON object: what happened, and what is not equal.

Every attempt is a process of its own, forked from this one. It counts the calls of the functions below, in all its
threads and ranks, and dies at one of them: while it computes, copies, writes a checkpoint, makes it durable, marks
it, drops an old one, or writes its outputs. Of several ranks sometimes only the one dies that made the call.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import safetensors.torch

from repro.stages import files
from repro.stages.errors import RankError, RunFailed, Stopped
from repro.stages.own_files import OWN_FILES
from repro.stages.run import Run
from repro.stages.running import checkpoint_files, checkpoints
from repro.stages.running.resume import CHECKPOINTS
from repro.stages.running.standalone import Options, run_alone
from repro.stages.running.warming import warm_up_fully
from repro.stages.training import optimizer

MOMENTS = [
    (optimizer, "update", "step"),
    (checkpoints, "_copied", "copy"),
    (safetensors.torch, "save_file", "write"),
    (files, "sync", "sync"),
    (os, "link", "publish"),
    (checkpoint_files, "steps_in", "whole"),
    (shutil, "rmtree", "drop"),
    (Run, "open", "output"),
]
ENDS = {0: "finished", 3: "stopped", 4: "killed", -signal.SIGKILL: "killed", -signal.SIGTERM: "ended"}


class Strike:
    """A signal to the run, or to the rank that is there, at the n-th call; 0 for none. The moment is written first."""

    def __init__(self, at, number, whole, told):
        self.at, self.number, self.whole, self.told = at, number, whole, told
        self.leader = os.getpid()
        self.count = multiprocessing.get_context("fork").Value("i")
        for owner, attribute, moment in MOMENTS:
            setattr(owner, attribute, self.counted(getattr(owner, attribute), moment))

    def counted(self, call, moment):
        def wrapped(*arguments, **options):
            with self.count.get_lock():
                self.count.value += 1
                due = self.count.value == self.at
            if due:
                os.write(self.told, moment.encode())  # opened before: what a hermetic run opens is looked at
                os.kill(self.leader if self.whole or self.number == signal.SIGTERM else os.getpid(), self.number)
                if self.number == signal.SIGKILL:
                    signal.pause()  # not one line more: the end of its leader is this process's
            return call(*arguments, **options)

        return wrapped


def attempt(path, root, at=0, number=signal.SIGKILL, whole=True):
    """Run, or go on with, a config; returns (how the process ended, the calls that it made, where it was struck)."""
    told, log = root / "told", root / f"{path.stem}.log"
    told.unlink(missing_ok=True)
    if (pid := os.fork()) == 0:
        code = 1
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            strike = Strike(at, number, whole, os.open(told, os.O_WRONLY | os.O_CREAT))
            run_alone(path, Options(root=root, hermetic=True, resume=True))
            (root / "calls").write_text(str(strike.count.value))
            code = 0
        except (RankError, RunFailed) as error:
            code = 4 if "was killed by SIGKILL" in str(error) else 1
            print(error)
        except Stopped:
            code = 3
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.read_text() if told.exists() else ""


def bytes_of(folder):
    """All outputs, and what else the document holds of the result."""
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")} - set(OWN_FILES)
    found = {name: (folder / name).read_bytes().hex() for name in names}
    manifest = json.loads((folder / "repro-run.json").read_bytes())
    return found | {key: manifest[key] for key in ("metrics", "params", "outputs", "fingerprint")}


def main():
    root, kills, seed, config = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    warm_up_fully()  # once here, as a worker does, instead of in every attempt
    paths = {name: root / f"{name}.json" for name in ("calm", "struck")}
    for path in paths.values():
        path.write_text(json.dumps(config))
    assert attempt(paths["calm"], root)[0] == 0, (root / "calm.log").read_text()
    calls, calm = int((root / "calls").read_text()), bytes_of(root / "calm")
    draw, struck, ends, unequal = random.Random(seed), Counter(), Counter(), []
    while sum(ends[end] for end in ("killed", "stopped")) < kills:
        while not (root / "struck" / "repro-run.json").exists():
            number = draw.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
            at = draw.randint(1, draw.choice([calls // 6, calls // 6, calls]))  # what goes on makes fewer calls
            code, moment = attempt(paths["struck"], root, at, number, draw.random() < 0.5)
            end = ENDS.get(code)
            assert end, (code, (root / "struck.log").read_text())
            ends[end] += 1
            struck[moment] += code != 0
        found = bytes_of(root / "struck")
        unequal += [key for key in calm.keys() | found.keys() if calm.get(key) != found.get(key)]
        shutil.rmtree(root / "struck")
        assert code or not list((root / CHECKPOINTS).iterdir())
    resumed = (root / "struck.log").read_text().count("going on from the checkpoint")
    print(json.dumps({"ends": ends, "struck": struck, "unequal": unequal, "resumed": resumed, "calls": calls}))


if __name__ == "__main__":
    main()

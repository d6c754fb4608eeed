"""Stages for tests, offered to the real registry through a real entry point on the PYTHONPATH."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def noop(run):
    """Nothing at all."""


def clock(run):
    """Tells when it began."""
    return {"began": time.time()}


def write(run):
    """A file with the text of the config; passes its inputs' texts on."""
    texts = [(folder / "text.txt").read_text() for folder in run.inputs.values()]
    with run.open("text.txt") as file:
        file.write("".join(texts) + run.params.get("text", "hello"))
    print("said", run.params.get("text", "hello"))
    return {"length": sum(map(len, texts)) + len(run.params.get("text", "hello"))}


def slow(run):
    """`write`, in a little more time, so that faults find it at work."""
    time.sleep(0.3)
    return write(run)


def passes_on(run):
    run.link("passed/text.txt", run.source / "text.txt")


def reads_passed(run):
    run.link("text.txt", run.source / "passed" / "text.txt")
    assert (run.out / "text.txt").read_text() == "a"
    with run.open("copy.txt") as file:
        file.write((run.source / "passed" / "text.txt").read_text())


def raises(run):
    print("before the end")
    raise ValueError(run.params.get("text", "boom"))


def dies(run):
    os.kill(os.getpid(), run.params.get("signal", int(signal.SIGKILL)))
    time.sleep(60)


def leaves(run):
    sys.exit(run.params.get("code", 0))


def sleeps(run):
    """Says that it has started and what its processes are; then sleeps, as does a process of its own."""
    helper = subprocess.Popen(["sleep", str(run.params.get("seconds", 600))])
    started = Path(run.params["started"])
    started.write_text(json.dumps({"pid": os.getpid(), "helper": helper.pid}))
    started.rename(f"{started}.ready")
    run.progress(1, 2, loss=0.5)
    print(run.params.get("text", ""), flush=True)
    time.sleep(run.params.get("seconds", 600))


def environment(run):
    with run.open("environment.json") as file:
        json.dump(dict(os.environ), file)


def install(folder):
    """Write a distribution that offers these stages; the folder belongs on the PYTHONPATH."""
    info = folder / "toy-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "toy.py").write_text(Path(__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    names = (
        "noop",
        "clock",
        "write",
        "slow",
        "passes_on",
        "reads_passed",
        "raises",
        "dies",
        "leaves",
        "sleeps",
        "environment",
    )
    points = "".join(f"toy_{name} = toy:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[repro.stages]\n{points}")

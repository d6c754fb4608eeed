"""Stages for tests, offered to the real registry through a real entry point on the PYTHONPATH."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENT = ("ASKED_*",)
PREFIX = "until"  # of `climbs`


def noop(run):
    """Nothing at all."""


def stamps(run):
    """Says when it began and ended, in nanoseconds of this machine, and reads and writes a little in between."""
    began = time.monotonic_ns()
    sizes = [path.stat().st_size for folder in run.inputs.values() for path in folder.iterdir()]
    with run.open("out.bin", "xb") as file:
        file.write(bytes(20_000))
    time.sleep(run.params.get("seconds", 1.0))
    Path(run.params["stamps"], run.name).write_text(json.dumps([began, time.monotonic_ns(), sizes]))


def clock(run):
    """Tells when it began."""
    return {"began": time.time()}


def write(run):
    """A file with the text of the config; passes its inputs' texts on."""
    texts = [(folder / "text.txt").read_text() for folder in run.inputs.values()]
    with run.open("text.txt") as file:
        file.write("".join(texts) + run.params.get("text", "hello"))
    print("said", run.params.get("text", "hello"))
    _bear_witness(run)
    return {"length": sum(map(len, texts)) + len(run.params.get("text", "hello"))}


def _bear_witness(run):
    """Tell, past the product, what its stage has written, byte for byte and name for name, if somebody asks for it."""
    if place := os.environ.get("ASKED_WITNESS"):
        told = {path.relative_to(run.out).as_posix(): path for path in run.out.rglob("*") if path.is_file()}
        seen = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in told.items()}
        beside = Path(place, f".{run.out.parent.name}")
        beside.write_text(json.dumps(seen))
        beside.rename(Path(place, f"{run.out.parent.name}.json"))


def write_typed(run):
    """`write`, with a key of each type."""
    run.params.get("lr", 0.1), run.params.get("steps", 1), run.params.get("note", None)
    return write(run)


def slow(run):
    """`write` and some bytes from the seed, in a little more time, so that faults find it at work."""
    run.progress(1, 2)
    time.sleep(0.3)
    with run.open("deep/noise.bin", "xb") as file:
        file.write(random.randbytes(run.params.get("bytes", 20_000)))
    return write(run)


def passes_on(run):
    run.link("passed/text.txt", run.source / "text.txt")


def reads_passed(run):
    run.link("text.txt", run.source / "passed" / "text.txt")
    assert (run.out / "text.txt").read_text() == "a"
    with run.open("copy.txt") as file:
        file.write((run.source / "passed" / "text.txt").read_text())


def many(run):
    for number in range(run.params["files"]):
        with run.open(f"{number}.bin", "xb") as file:
            file.write(number.to_bytes(4))


def raises(run):
    print("before the end")
    raise ValueError(run.params.get("text", "boom"))


def meets_a_full_disk(run):
    """What the kernel says when there is no space left, itself or through a library."""
    try:
        with Path("/dev/full").open("w") as file:
            file.write("too much")
    except OSError as error:
        if run.params.get("wrapped", False):
            raise RuntimeError("the library could not save") from error
        raise


def meets_no_memory(run):
    return bytearray(1 << 60)


def fills_the_disk(run):
    """Writes until nothing fits any more, in its log too; once the file named in the config is there, only a little."""
    with run.open("big.bin", "xb") as file:
        while not Path(run.params["enough"]).exists():
            file.write(bytes(1 << 16))
            print("x" * 4095)  # with its end a page: when no page is free, not a byte more fits into the log
    print("done")


def opens_what_is_not_there(run):
    (run.out / "nothing").read_text()


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


def paces(run):
    """Holds so many bytes and steps on, 20 times a second at most, until the file named in the config is there."""
    held = b"x" * run.params.get("bytes", 0)
    Path(f"{run.params['enough']}.begun").write_text(str(os.getpid()))
    print(run.params.get("text", ""), flush=True)
    for step in range(10_000):
        run.progress(step, 10_000)
        time.sleep(0.05)
        if Path(run.params["enough"]).exists():
            break
    return {"held": len(held)}


def never_steps(run):
    """Promises to look whether it is to stop, says when it was told, and goes on."""
    run.resume()
    Path(run.params["started"]).touch()
    while not run.checkpoints.stopping:
        time.sleep(0.01)
    Path(run.params["started"] + ".told").touch()
    time.sleep(600)


def climbs(run):
    """A figure that comes nearer to what its parameters allow, an epoch at a time, and goes on from a checkpoint."""
    import torch

    lr, size, kind = run.params.get("lr", 0.1), run.params.get("size", 3), run.params.get("kind", "a")
    epochs, until, pause = run.params.get("epochs", 4), run.params.get("until", None), run.params.get("pause", 0.0)
    goal = 1 / (1 + abs(lr - 0.03) * 10 + abs(size - 6)) - 0.1 * (kind == "b")
    kept = run.resume()
    begin, weights = (kept.step, kept.tensors["weights"]) if kept else (0, torch.zeros(8, dtype=torch.float64))
    history = kept.facts["history"] if kept else []
    for step in range(begin + 1, (until or epochs) + 1):
        torch.manual_seed(step)
        weights = weights + torch.rand(8, dtype=torch.float64) * lr
        history.append(goal * (1 - 0.5**step))
        run.progress(step, until or epochs, score=history[-1])
        time.sleep(pause)
        run.checkpoint(step, {"weights": weights}, {"history": history}, last=step == until)
    with run.open("weights.bin", "xb") as file:
        file.write(weights.numpy().tobytes())
    with run.open("history.json") as file:
        json.dump(history, file)
    return {"score": history[-1]}


def environment(run):
    with run.open("environment.json") as file:
        json.dump(dict(os.environ), file)


STAGES = (
    *(
        noop,
        stamps,
        clock,
        write,
        many,
        slow,
        write_typed,
        passes_on,
        reads_passed,
        raises,
        meets_a_full_disk,
        meets_no_memory,
        fills_the_disk,
    ),
    *(opens_what_is_not_there, dies, leaves, sleeps, paces, never_steps, environment, climbs),
)


def install(folder):
    """Write a distribution that offers these stages; the folder belongs on the PYTHONPATH."""
    info = folder / "toy-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "toy.py").write_text(Path(__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    points = "".join(f"toy_{stage.__name__} = toy:{stage.__name__}\n" for stage in STAGES)
    (info / "entry_points.txt").write_text(f"[repro.stages]\n{points}")

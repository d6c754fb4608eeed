"""Odd stages, each with what must come of it: outputs (name -> bytes), or part of the one line that refuses it."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HANDLE = None
TARGET = "REPRO_TEST_ELSEWHERE"
ENVIRONMENT = ("REPRO_TEST_ELSEWHERE",)


def elsewhere():
    """A folder that is not the run's: nothing in it may be touched."""
    return Path(os.environ[TARGET])


def open_at_the_end(run):
    global HANDLE  # noqa: PLW0603 - that is the point
    HANDLE = (run.out / "log.txt").open("x")
    HANDLE.write("kept")


def zipped(run):
    import gzip
    import zipfile

    global HANDLE  # noqa: PLW0603
    packed = zipfile.ZipFile(run.out / "a.zip", "x")
    packed.writestr("a", "b")
    HANDLE = [packed, gzip.open(run.out / "a.gz", "xb")]  # noqa: SIM115
    HANDLE[1].write(b"kept")


def at_exit(run):
    atexit.register((run.out / "last.txt").write_text, "kept")


def late_thread(run):
    def write():
        time.sleep(0.3)
        (run.out / "late.txt").write_text("kept")

    threading.Thread(target=write).start()


def pool(run):
    from concurrent.futures import ThreadPoolExecutor

    ThreadPoolExecutor(2).submit((run.out / "pooled.txt").write_text, "kept")


def names_of_libraries(run):
    for name in ("config.json", "run.json", "log.txt", "code.diff", "checkpoints/1/whole.json"):
        path = run.out / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)


def link_inside(run):
    (run.out / "a_latest.txt").symlink_to(run.out / "step.txt")  # sorts before its target, and is absolute
    (run.out / "step.txt").write_text("kept")


def link_to_folder(run):
    (run.out / "epoch").mkdir()
    (run.out / "epoch" / "w.txt").write_text("kept")
    (run.out / "latest").symlink_to("epoch")


def link_elsewhere(run):
    (run.out / "theirs.txt").symlink_to(elsewhere() / "theirs.txt")


def hard_link_elsewhere(run):
    (run.out / "theirs.txt").hardlink_to(elsewhere() / "theirs.txt")


def twice_the_same_name(run):
    (run.out / "a.txt").write_text("kept")
    (run.out / "b.txt").hardlink_to(run.out / "a.txt")


def dangling(run):
    (run.out / "latest.txt").symlink_to("nowhere.txt")


def circle(run):
    (run.out / "a").symlink_to("b")
    (run.out / "b").symlink_to("a")


def circle_of_folders(run):
    (run.out / "a").mkdir()
    (run.out / "a" / "self").symlink_to(run.out / "a")


def foreign_folder(run):
    (run.out / "theirs").symlink_to(elsewhere())


def fifo(run):
    os.mkfifo(run.out / "pipe")


def socket_file(run):
    kept = socket.socket(socket.AF_UNIX)
    kept.bind("s")  # the run's folder is the current one
    assert (run.out / "s").exists()


def device(run):
    (run.out / "zero").symlink_to("/dev/zero")


def newline(run):
    (run.out / "a\nb.txt").write_text("")


def not_utf8(run):
    (run.out / os.fsdecode(b"caf\xe9.txt")).write_text("")


def own_name(run):
    (run.out / "repro-run.json").write_text("{}")


def removes_its_folder(run):
    import shutil

    shutil.rmtree(run.out)


def empty_folder(run):
    (run.out / "empty").mkdir()
    (run.out / "a.txt").write_text("kept")


def executable(run):
    (run.out / "tool.sh").write_text("kept")
    (run.out / "tool.sh").chmod(0o755)


def closes_everything(run):
    (run.out / "a.txt").write_text("kept")
    os.closerange(0, 1024)
    return {"a": 1}


def replaces_stdout(run):
    (run.out / "a.txt").write_text("kept")
    sys.stdout.close()
    sys.stderr = None
    return {"a": 1}


def leaves_at_once(run):
    os._exit(0)


def exits(run):
    sys.exit(0)


def segfaults(run):
    import ctypes
    import faulthandler

    faulthandler.disable()  # of the tests' own process, in which the stage runs alone: its report would look like ours
    ctypes.string_at(0)


def real_time_signal(run):
    os.kill(os.getpid(), signal.SIGRTMIN + 3)
    time.sleep(60)


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def broken_text(run):
    raise Broken


def circular_cause(run):
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def own_cause(run):
    error = ValueError("mine")
    raise error from error


def huge_message(run):
    raise ValueError("x" * 8_000_000)


def escape_in_message(run):
    raise ValueError("\x1b]0;title\x07\ud800\0")


def many_small_writes(run):
    with (run.out / "a.txt").open("x", buffering=1) as file:
        for _ in range(100_000):
            file.write("x\n")


def daemon(run):
    """What it starts in a session of its own, and lets go of, writes on until it is ended."""
    code = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nopen('daemon.txt', 'a').write(str(os.getpid()))\n"
    code += "while True: open('daemon.log', 'a').write('x'); time.sleep(0.001)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    with contextlib.suppress(FileNotFoundError):
        while not (run.out / "daemon.txt").exists() or not (run.out / "daemon.txt").read_text():
            time.sleep(0.01)
    return {"pid": int((run.out / "daemon.txt").read_text())}


def forks_and_dies(run):
    if os.fork() == 0:
        time.sleep(600)
    (run.out / "a.txt").write_text("kept")
    return {"a": 1}


def returns_numbers_of_numpy(run):
    import numpy as np

    (run.out / "a.txt").write_text("kept")
    return {"a": np.float32(0.5), "b": float("nan"), "c": 2**70, "d": True, "e": "text"}


def returns_a_list(run):
    return [1]


KEPT = b"kept"
GOOD = {
    open_at_the_end: {"log.txt": KEPT},
    at_exit: {"last.txt": KEPT},
    late_thread: {"late.txt": KEPT},
    pool: {"pooled.txt": KEPT},
    names_of_libraries: {
        name: name.encode() for name in ("config.json", "run.json", "log.txt", "code.diff", "checkpoints/1/whole.json")
    },
    link_inside: {"a_latest.txt": KEPT, "step.txt": KEPT},
    link_to_folder: {"epoch/w.txt": KEPT, "latest/w.txt": KEPT},
    link_elsewhere: {"theirs.txt": b"theirs"},
    hard_link_elsewhere: {"theirs.txt": b"theirs"},
    twice_the_same_name: {"a.txt": KEPT, "b.txt": KEPT},
    empty_folder: {"a.txt": KEPT},
    executable: {"tool.sh": KEPT},
    closes_everything: {"a.txt": KEPT},
    replaces_stdout: {"a.txt": KEPT},
    many_small_writes: {"a.txt": b"x\n" * 100_000},
    forks_and_dies: {"a.txt": KEPT},
    returns_numbers_of_numpy: {"a.txt": KEPT},
}
REFUSED = {
    dangling: "output 'latest.txt': is a link to nothing: 'nowhere.txt'",
    circle: "output 'a': is a link that",
    circle_of_folders: "output 'a/self': is a link to a folder that it lies in",
    foreign_folder: "output 'theirs': is a link to a folder outside the run's own",
    fifo: "output 'pipe': is a FIFO",
    socket_file: "output 's': is a socket",
    device: "output 'zero': is a link to a device",
    newline: r"output 'a\nb.txt': its name holds a control character",
    not_utf8: r"output 'caf\udce9.txt': its name is not UTF-8",
    own_name: "repro-run.json",
    removes_its_folder: "the run's folder is gone",
    leaves_at_once: "the stage's process left with code 0",
    exits: "SystemExit",
    segfaults: "killed by SIGSEGV",
    real_time_signal: "killed by SIGRTMIN+3",
    broken_text: "(its message can't be told: RuntimeError)",
    circular_cause: "first",
    own_cause: "mine",
    huge_message: "xxx ... (cut)",
    escape_in_message: r"\x1b]0;title\x07\ud800\x00",
    returns_a_list: "a stage returns its metrics",
}

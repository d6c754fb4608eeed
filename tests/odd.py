"""Stages that do what people's code does to a folder and a process, offered through a real entry point.

What each leaves, or the line that it ends with, stands beside it in `CASES`.
"""

import atexit
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

OPEN = []  # what a module holds open to the end


def holds_open(run):
    OPEN.append(open(run.out / "log.txt", "w"))  # noqa: PTH123, SIM115 - left open is the point
    OPEN[-1].write("kept")
    OPEN.append(gzip.open(run.out / "a.gz", "wt", compresslevel=0))  # noqa: SIM115
    OPEN[-1].write("packed")


def writes_at_exit(run):
    atexit.register((run.out / "exit.txt").write_text, "at exit")


def writes_in_a_thread(run):
    def later():
        time.sleep(0.2)
        (run.out / "thread.txt").write_text("from a thread")

    threading.Thread(target=later).start()


def takes_our_old_names(run):
    for name in ("config.json", "run.json", "log.txt", "code.diff"):
        (run.out / name).write_text(name)
    (run.out / "checkpoints").mkdir()
    (run.out / "checkpoints/best.txt").write_text("best")


def takes_our_name(run):
    (run.out / "repro-run.json").write_text("{}")


def links(run):
    """Absolute, relative, before its target in order, out of the folder, to a folder."""
    (run.out / "b.txt").write_text("b")
    (run.out / "a.txt").symlink_to("b.txt")
    (run.out / "latest.txt").symlink_to(run.out / "b.txt")
    outside = Path(run.params["outside"])
    (run.out / "own.txt").symlink_to(outside / "own.txt")
    (run.out / "hard.txt").hardlink_to(outside / "own.txt")
    (run.out / "folder").symlink_to(outside / "sub")


def dangles(run):
    (run.out / "latest.txt").symlink_to("gone.txt")


def goes_in_circles(run):
    (run.out / "sub").mkdir()
    (run.out / "sub/up").symlink_to("..")


def makes_a_fifo(run):
    os.mkfifo(run.out / "pipe")


def makes_a_socket(run):
    os.chdir(run.out)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("sock")


def locks_a_file(run):
    (run.out / "mine.txt").write_text("x")
    (run.out / "mine.txt").chmod(0)


def locks_a_folder(run):
    (run.out / "mine").mkdir()
    (run.out / "mine/x.txt").write_text("x")
    (run.out / "mine").chmod(0)


def breaks_the_line(run):
    (run.out / "two\nlines").write_text("x")


def is_no_utf8(run):
    (run.out / os.fsdecode(b"caf\xe9")).write_text("x")


def removes_its_folder(run):
    (run.out / "repro-config.json").unlink(missing_ok=True)
    run.out.rmdir()


def closes_its_output(run):
    (run.out / "x.txt").write_text("x")
    sys.stdout.close()
    sys.stderr = None
    os.close(1)


def leaves_a_session(run):
    """What it starts would write for ever."""
    loop = "import sys, time\nwhile True:\n open(sys.argv[1], 'a').write('x' * 999); time.sleep(0.01)"
    path = run.out / "endless.txt"
    subprocess.Popen([sys.executable, "-Sc", loop, path], start_new_session=True)
    while not path.exists():
        time.sleep(0.01)


def ends_by_itself(run):
    (run.out / "x.txt").write_text("x")
    os._exit(3)


def signals_itself(run):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(60)


def links_oddly(run):
    run.link("./a.txt", run.source / "text.txt")
    (run.out / "b.txt").symlink_to(run.source / "text.txt")


def makes_a_program(run):
    (run.out / "go.sh").write_text("#!/bin/sh\necho gone")
    (run.out / "go.sh").chmod(0o755)


def runs_the_program(run):
    (run.out / "said.txt").write_bytes(subprocess.check_output([run.source / "go.sh"]))


def has_many(run):
    for number in range(200):
        (run.out / f"{number}.txt").touch()


OLD = ("config.json", "run.json", "log.txt", "code.diff")
B = {"a.txt": b"b", "b.txt": b"b", "latest.txt": b"b"}
CASES = {
    holds_open: {"log.txt": b"kept", "a.gz": None},
    writes_at_exit: {"exit.txt": b"at exit"},
    writes_in_a_thread: {"thread.txt": b"from a thread"},
    takes_our_old_names: {name: name.encode() for name in OLD} | {"checkpoints/best.txt": b"best"},
    takes_our_name: "repro-run.json: is a name of the run's own files",
    links: B | {"own.txt": b"own", "hard.txt": b"own", "folder/x.txt": b"x"},
    dangles: "latest.txt: is a link to gone.txt, which is not there",
    goes_in_circles: "sub/up: is a link to a folder that it lies in itself",
    makes_a_fifo: "pipe: is a FIFO",
    makes_a_socket: "sock: is a socket",
    locks_a_file: "mine.txt: can't be read: its mode is 0000",
    locks_a_folder: "mine: can't be read: its mode is 0000",
    breaks_the_line: r"'two\nlines': an output's name holds no line ends",
    is_no_utf8: r"'caf\\xe9': an output's name must be UTF-8",
    removes_its_folder: "the stage has removed the run's own folder",
    closes_its_output: {"x.txt": b"x"},
    leaves_a_session: {"endless.txt": None},
    has_many: {f"{number}.txt": b"" for number in range(200)},
}
STAGES = (*CASES, ends_by_itself, signals_itself, links_oddly, makes_a_program, runs_the_program)


def install(folder):
    """Write a distribution that offers these stages; the folder belongs on the PYTHONPATH."""
    info = folder / "odd-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "odd.py").write_text(Path(__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 0.1\n")
    points = "".join(f"toy_{stage.__name__} = odd:{stage.__name__}\n" for stage in STAGES)
    (info / "entry_points.txt").write_text(f"[repro.stages]\n{points}")

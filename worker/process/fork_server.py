"""The fork server: imports once what every run needs, then forks one child for each run.

It is started with an environment of its own (`environment.common_environment`), opens no connection and starts no
thread, so that a fork of it is clean. A child whose code of stages has changed on disk in the meantime imports it anew
(`child.forget_what_changed`), so a run always computes with the code as it is now. Requests come over a socket
with two open files, the report pipe and the log; the exit of a child is the last line of its report. When
the socket closes, the worker is gone: every child is killed.
"""

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from repro.stages.running import process_tree
from repro.stages.running.warming import warm_up, warm_up_fully
from repro.worker.process import child

HUGE = 2 << 20  # bytes of a huge page
MADV_COLLAPSE = 25  # Linux, madvise(2)
# One or two runs are sooner done without what takes seconds to import; more, or whoever waits, are worth it.
WARM_AFTER, COLLAPSE_AFTER = 3, 10  # children
IDLE = 1.0  # seconds in which nobody asks for anything


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    warm_up()
    _freeze()
    process_tree.adopt_orphans()
    code_as_of = child.modification_times("repro.stages")
    try:
        requests.send(b"ready")
    except BrokenPipeError:  # the worker has died while this started
        return
    _serve(requests, code_as_of)


def _freeze() -> None:
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page of these objects


def _collapse() -> None:
    """Move this process's memory onto huge pages, as far as the kernel can (Linux 6.1 and newer).

    Most of what a child costs is to copy, and at its exit to free, an entry for every page of 240 MB. It takes half a
    second, so it is done once there have been some children.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, _, _, inode, *_ = line.split()
        start, end = (int(address, 16) for address in span.split("-"))
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if access == "rw-p" and inode == "0" and start < end:
            madvise(start, end - start, MADV_COLLAPSE)


def _serve(requests: socket.socket, code_as_of: dict[Path, int]) -> None:
    children: dict[int, int] = {}  # process id -> the write end of its report
    started, is_warm = 0, False
    ended_read, ended_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(ended_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a terminal's Ctrl-C is a matter of the worker
        signal.signal(ignored, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    selector.register(ended_read, selectors.EVENT_READ)
    while True:
        events = selector.select(None if is_warm else IDLE)
        is_idle = not events and not children
        if not is_warm and (is_idle or (started >= WARM_AFTER and _is_asked(requests))):
            is_warm = True
            warm_up_fully()
            _freeze()
        for key, _ in events:
            if key.fileobj is not requests:
                with contextlib.suppress(BlockingIOError):
                    os.read(ended_read, 4096)
                _reap(children)
            elif _start(requests, children, code_as_of):
                started += 1
                if started == COLLAPSE_AFTER and sys.platform == "linux":
                    _collapse()
            else:
                for pid in children:
                    _kill_group(pid)
                process_tree.end_orphans(())
                return


def _is_asked(requests: socket.socket) -> bool:
    """Whether there is a request for another child, and not just the news that there will be none."""
    try:
        return bool(requests.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def _start(requests: socket.socket, children: dict[int, int], code_as_of: dict[Path, int]) -> bool:
    message, handles, _, _ = socket.recv_fds(requests, 65536, 2)
    if not message:
        return False
    report, log = handles
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # no memory or no process is left: a matter of this run alone
        _write_line(report, {"unborn": error.strerror or "no process could be forked"})
        os.close(log)
        os.close(report)
        return True
    if pid == 0:
        for other in children.values():
            os.close(other)
        requests.close()
        signal.set_wakeup_fd(-1)
        child.main(message, report, log, parent, code_as_of)
    with contextlib.suppress(OSError):  # both sides do it: neither must come too late
        os.setpgid(pid, pid)
    os.close(log)
    children[pid] = report
    _write_line(report, {"pid": pid})
    return True


def _reap(children: dict[int, int]) -> None:
    while children:
        pid, status, used = os.wait4(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid not in children:  # an orphan of one that has ended
            continue
        report = children.pop(pid)
        _kill_group(pid)  # what the stage itself started must not outlive it,
        process_tree.end_orphans(children)  # wherever it has gone
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # bytes, of it and what it waited for
        _write_line(report, {"exit": os.waitstatus_to_exitcode(status), "peak": peak})
        os.close(report)


def _write_line(report: int, line: dict[str, Any]) -> None:
    # The leading newline ends a line that a killed child left half-written.
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"\n" + json.dumps(line).encode() + b"\n")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

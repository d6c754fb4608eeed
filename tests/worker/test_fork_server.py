"""The fork server: ready before it is needed, and cheap to fork from."""

import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from repro.worker.attempt.executor import Executor
from repro.worker.process import fork_server
from repro.worker.process.fork_client import ForkServer
from tests.worker.test_worker import wait_for

COLLAPSED = """
import hashlib
from repro.worker.process import fork_server
data = bytes(range(256)) * (64 << 12)
other = [str(number) for number in range(500_000)]
before = hashlib.sha256(data).hexdigest(), hash(tuple(other))
fork_server._collapse()
assert (hashlib.sha256(data).hexdigest(), hash(tuple(other))) == before
print(next(line for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages")))
"""


def test_a_worker_that_stays_has_its_fork_server_before_its_first_run(bench):
    with ForkServer() as server:
        bench.executor = Executor(bench.store, bench.folder / "home", "", server)
        bench.work(burst=False, max_idle=0.1)
        process = server._process
        assert process is not None
        assert bench.run("a", "noop")["state"] == "done"
        assert server._process is process
    assert process.returncode is not None


def test_a_fork_server_that_is_still_starting_does_not_hold_up_the_end(monkeypatch, tmp_path):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    with ForkServer() as server:
        thread = threading.Thread(target=server.prepare)
        thread.start()
        wait_for(lambda: server._process)
    thread.join(30)
    assert not thread.is_alive()
    assert server._process.returncode == -signal.SIGKILL


def test_memory_on_huge_pages_holds_what_it_held():
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if sys.platform != "linux" or release < (6, 1) or not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel can't move memory onto huge pages")
    done = subprocess.run([sys.executable, "-c", COLLAPSED], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) > 0


def test_children_are_forked_before_and_after_the_collapse(bench):
    with ForkServer() as server:
        bench.executor = Executor(bench.store, bench.folder / "home", "", server)
        for number in range(fork_server.COLLAPSE_AFTER + 3):
            bench.submit(f"r{number:02}", "write", text=str(number))
        bench.work(cpus=2)
    assert {run["state"] for run in bench.db.runs.find()} == {"done"}
    assert (bench.folder_of(f"r{fork_server.COLLAPSE_AFTER + 2}") / "text.txt").read_text() == str(
        fork_server.COLLAPSE_AFTER + 2
    )

"""What processes that a stage forks read and do is noted of the run, as if it had done so itself."""

import hashlib
import os
import sys

import pytest

from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running.execution import execute
from repro.stages.running.forked_notes import ForkedNotes
from tests import sample

STAGES = """
import json, os
from pathlib import Path
from torch.utils.data import DataLoader, Dataset

class Files(Dataset):
    def __init__(self, run, names):
        self.run, self.names = run, names
    def __len__(self):
        return len(self.names)
    def __getitem__(self, at):
        Path(self.run.params["beside"]).read_text()
        size = self.run.params.get("size", 3)
        return len(Path(self.run.data, self.names[at]).read_bytes()[:size])

def loads(run):
    names = run.params["names"]
    sums = [sum(batch.sum().item() for batch in DataLoader(Files(run, names), 2, num_workers=run.params["workers"]))
            for epoch in range(3)]
    return {"sum": sum(sums)}

def forks(run):
    if not (child := os.fork()):
        if not os.fork():
            Path(run.data, "a.txt").read_text()
            run.params["names"]
            os.closerange(3, 200)
            open(Path(run.out, "other.txt"), "x")
            Path(run.data, "b.txt").read_text()
            os._exit(0)
        os.wait()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture
def compute(tmp_path, monkeypatch):
    code, data = tmp_path / "code", tmp_path / "data"
    for folder in (code, data, tmp_path / "out"):
        folder.mkdir()
    (code / "forking_lab.py").write_text(STAGES)
    monkeypatch.syspath_prepend(code)
    for name, size in (("a.txt", 5), ("b.txt", 3), ("c.txt", 4)):
        (data / name).write_text(size * "x")
    (tmp_path / "beside.txt").write_text("beside")
    sample.forget()
    sys.modules.pop("forking_lab", None)

    def run(stage, **config):
        config = {"stage": f"forking_lab:{stage}", "names": ["a.txt", "b.txt", "c.txt"]} | config
        run = Run("lab", Params(config), {}, tmp_path / "out", str(data))
        return execute(run)

    yield run
    sys.modules.pop("forking_lab", None)
    sample.forget()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_workers_of_a_data_loader_read_is_noted(compute, tmp_path, workers):
    beside = str(tmp_path / "beside.txt")
    result = compute("loads", workers=workers, beside=beside, never=1)
    assert result.metrics == {"sum": 27}
    assert result.unread == ["never"]
    assert result.params["size"] == {"value": 3, "default": True}
    data = result.environment["data"]
    # The file beside is named by the config, and so is data, too.
    rows = f"path,size\n{beside},6\na.txt,5\nb.txt,3\nc.txt,4\n"
    assert data["listing"] == hashlib.sha256(rows.encode()).hexdigest()
    assert (data["files"], data["bytes"]) == (4, 18)


def test_a_process_that_has_closed_all_its_files_writes_into_no_other(compute, tmp_path):
    result = compute("forks")
    assert "names" in result.params
    assert result.environment["data"]["files"] == 1  # the one that was read before
    assert (tmp_path / "out/other.txt").read_bytes() == b""


def test_no_file_stays_open(compute):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    compute("loads", workers=0, beside="/dev/null")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_of_processes_that_write_at_the_same_moment_no_note_is_lost(tmp_path):
    """As ranks do, which read the same keys at the same time: a file in memory is not by itself written in turns."""
    config = {"stage": "x"} | {f"key{number}": number for number in range(2000)}
    run = Run("x", Params(config), {}, tmp_path)
    notes = ForkedNotes(run)
    read, write = os.pipe()
    children = []
    for part in range(4):
        if not (child := os.fork()):
            os.read(read, 1)  # all begin at once
            for number in range(part, 2000, 4):
                run.params[f"key{number}"]
            os._exit(0)
        children.append(child)
    os.write(write, b"0123")
    for child in children:
        os.waitpid(child, 0)
    notes.hear()
    notes.close()
    assert len(run.params.record()) == 2000

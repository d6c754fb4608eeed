"""What a stage touches besides what it was handed: recorded, refused on request; overwriting always refused."""

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from repro.stages.errors import StageError
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running.execution import execute
from tests import sample

ACTIONS = """
import json, os, shutil, socket, subprocess, tempfile
from pathlib import Path

ENVIRONMENT = ("ASKED_*",)

def stage(run):
    exec_action(run, run.params["do"])
    with run.open("end.txt") as file:
        file.write("reached")

def exec_action(run, code):
    exec(code, {"run": run, **globals()})
"""


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Run a line of Python as a stage; what was not declared."""
    lab = tmp_path / "code"
    info = lab / "lab-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\nlab = hermetic_lab:stage\n")
    (lab / "hermetic_lab.py").write_text(ACTIONS)
    monkeypatch.syspath_prepend(lab)
    (tmp_path / "input").mkdir()
    (tmp_path / "input/given.txt").write_text("given")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/image.txt").write_text("raw")
    (tmp_path / "secret.txt").write_text("found")
    sample.forget()

    def run(do, hermetic=False, data=str(tmp_path / "raw"), **config):
        out = tmp_path / "out"
        out.mkdir()
        config = {"stage": "lab", "do": do} | config
        run = Run("lab", Params(config), {"input": tmp_path / "input"}, out, data, hermetic)
        monkeypatch.chdir(out)
        return execute(run).environment.get("undeclared", {})

    yield run
    sys.modules.pop("hermetic_lab", None)
    sample.forget()


@pytest.mark.parametrize(
    "do",
    [
        "(run.source / 'given.txt').read_text()",
        "Path(run.data, 'image.txt').read_text()",
        "run.path('a.txt').write_text('a'); Path('a.txt').read_text()",
        "run.path('b/c.txt').write_text('new')",
        "os.environ.get('ASKED_FOR'); os.getenv('ASKED_TOO')",
        "with tempfile.TemporaryFile() as file: file.write(b'a')",
        "folder = tempfile.mkdtemp(); Path(folder, 'a').write_text('a'); Path(folder, 'a').read_text()",
        "import torch, PIL.Image; torch.randn(2); Path(torch.__file__).read_text()",
        "Path(json.__file__).read_text()",
        "import importlib.metadata; importlib.metadata.entry_points()",
    ],
)
def test_what_is_handed_over_is_not_noted(go, do):
    assert go(do, hermetic=True) == {}


UNDECLARED = [
    ("Path('../secret.txt').read_text()", "files", "secret.txt"),
    ("os.close(os.open('../secret.txt', os.O_RDONLY))", "files", "secret.txt"),
    ("import numpy; numpy.fromfile('../secret.txt', dtype='u1')", "files", "secret.txt"),
    ("Path('/proc/cpuinfo').read_text()", "files", "/proc/cpuinfo"),
    ("Path('../new.txt').write_text('a')", "files written", "new.txt"),
    ("os.environ.get('HOME')", "environment", "HOME"),
    ("os.getenv('SOME_SETTING', '1')", "environment", "SOME_SETTING"),
    ("'HOME' in os.environ", "environment", "HOME"),
    ("dict(os.environ)", "environment", "*"),
    ("os.path.expanduser('~')", "environment", "HOME"),
    ("subprocess.run(['true'], check=True)", "programs", "true"),
]


@pytest.mark.parametrize(("do", "kind", "what"), UNDECLARED)
def test_what_is_not_declared_is_noted(go, do, kind, what):
    found = go(do)
    assert kind in found
    assert any(seen.endswith(what) for seen in found[kind]), found


@pytest.mark.parametrize(("do", "kind", "what"), UNDECLARED)
def test_what_is_not_declared_is_an_error_on_request(go, tmp_path, do, kind, what):
    with pytest.raises(StageError, match=f"not hermetic: {kind}: "):
        go(do, hermetic=True)
    assert not (tmp_path / "out/end.txt").exists()


def test_a_connection_is_noted(go):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = go(f"socket.create_connection(('127.0.0.1', {port})).close()")
    assert found == {"network": [f"127.0.0.1:{port}"]}


def test_a_path_or_a_url_in_the_config_declares_it(go, tmp_path):
    assert go("Path(run.params['file'].replace('[t]', 't')).read_text()", True, file=f"{tmp_path}/secret.tx[t]") == {}


def test_data_on_a_service_are_declared_by_the_stage_that_asks_for_its_credentials(go):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert go(f"socket.create_connection(('127.0.0.1', {port})).close()", True, data="s3://bucket/raw") == {}


@pytest.mark.parametrize(
    "again",
    [
        "open(path, 'w')",
        "open(path, 'a')",
        "open(path, 'r+b')",
        "Path(path).write_text('other')",
        "os.open(path, os.O_WRONLY)",
        "os.open(path, os.O_RDONLY | os.O_TRUNC)",
        "os.truncate(path, 0)",
        "Path('other').write_text('other'); os.replace('other', path)",
        "Path('other').write_text('other'); shutil.copyfile('other', path)",
        "Path('../new.txt').write_text('other'); shutil.move('../new.txt', path)",
        "import numpy; numpy.memmap(path, 'u1', 'r+')",
    ],
)
@pytest.mark.parametrize("place", ["result", "input"])
def test_nothing_is_written_over_whoever_opens_it(go, tmp_path, place, again):
    path = {"result": "a.txt", "input": str(tmp_path / "input/given.txt")}[place]
    make = "run.path('a.txt').write_text('first')" if place == "result" else "None"
    with pytest.raises(FileExistsError, match="written once"):
        go(f"{make}; path = {path!r}; {again}")
    assert (tmp_path / "out" / path).read_text() == ("first" if place == "result" else "given")


def test_what_is_noted_is_bounded(go):
    found = go("for n in range(50): os.getenv(f'V{n:02}'); os.getenv('V00')")
    assert found["environment"] == [f"V{n:02}" for n in range(20)] + ["and 30 more"]


def test_after_the_run_nothing_is_watched(go, tmp_path):
    go("None")
    (tmp_path / "out/end.txt").write_text("mine again")
    assert type(os.environ).__name__ == "_Environ"
    assert tempfile.gettempdir()
    assert Path("/proc/self/stat").read_text()

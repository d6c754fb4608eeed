"""What a stage touches besides what it was handed: recorded, refused on request; overwriting always refused."""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from repro.stages.errors import StageError, describe
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
        out.mkdir(exist_ok=True)
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


def test_the_first_temporary_file_of_a_process_is_not_noted(go, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert go("Path(tempfile.mkdtemp(), 'a').write_text('a')", hermetic=True) == {}


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


def test_a_socket_of_this_machine_is_no_network(go, tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert go("s = socket.socket(socket.AF_UNIX); s.connect('../s'); s.close()", hermetic=True) == {}


def test_a_hermetic_stage_may_have_the_workers_of_a_data_loader(go):
    do = "from torch.utils.data import DataLoader as D; import torch; "
    do += "assert sum(int(b.sum()) for b in D(torch.arange(100), 10, num_workers=2)) == 4950"
    assert go(do, hermetic=True) == {}


def test_what_torch_says_of_determinism_names_the_key(go):
    with pytest.raises(RuntimeError) as raised:
        go("import torch; torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))")
    told = describe(raised.value)["message"]
    assert told.endswith('; in a config the key is "deterministic": false')
    assert "does not have a deterministic implementation" in told


def test_a_path_or_a_url_in_the_config_declares_it(go, tmp_path):
    assert go("Path(run.params['file'].replace('[t]', 't')).read_text()", True, file=f"{tmp_path}/secret.tx[t]") == {}


def test_data_on_a_service_are_declared_by_the_stage_that_asks_for_its_credentials(go):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert go(f"socket.create_connection(('127.0.0.1', {port})).close()", True, data="s3://bucket/raw") == {}


AGAIN = [
    "open(path, 'w').write('again')",
    "open(path, 'a').write('again')",
    "open(path, 'r+').write('again')",
    "Path(path).write_text('again')",
    "os.write(os.open(path, os.O_WRONLY), b'again')",
    "os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))",
    "os.truncate(path, 0)",
    "Path('other').write_text('again'); os.replace('other', path)",
    "Path('other').write_text('again'); shutil.copyfile('other', path)",
    "Path('../new.txt').write_text('again'); shutil.move('../new.txt', path)",
    "import numpy; numpy.memmap(path, 'u1', 'r+')[:] = 65",
]
OTHERS = {
    "an input": ("None", "given", "another run"),
    "what was there before": ("None", "before", "before the run"),
    "a link of the run": ("run.link('a.txt', run.source / 'given.txt')", "given", "another run"),
    "a hard link": ("os.link(run.source / 'given.txt', 'a.txt')", "given", "another run"),
    "a symbolic link": ("os.symlink(run.source / 'given.txt', 'a.txt')", "given", "another run"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files that an action leaves open
@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("whose", OTHERS)
def test_what_is_not_the_runs_own_is_never_written_over_whoever_opens_it(go, tmp_path, whose, again):
    make, text, told = OTHERS[whose]
    path = str(tmp_path / "input/given.txt") if whose == "an input" else "a.txt"
    if whose == "what was there before":
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.txt").write_text("before")
    with pytest.raises(FileExistsError, match=f"{told}.* name"):
        go(f"{make}; path = {path!r}; {again}")
    assert (tmp_path / "out" / path).read_text() == text
    assert (tmp_path / "input/given.txt").read_text() == "given"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("again", AGAIN)
def test_what_the_run_has_made_may_be_written_again_until_it_ends_but_not_in_a_hermetic_run(go, tmp_path, again):
    make = "run.path('a.txt').write_text('first')"
    assert go(f"{make}; path = 'a.txt'; {again}").get("files", []) == []
    assert (tmp_path / "out/a.txt").read_text() != "first"
    shutil.rmtree(tmp_path / "out")
    with pytest.raises((FileExistsError, StageError), match="hermetic"):
        go(f"{make}; path = 'a.txt'; {again}", hermetic=True)
    assert (tmp_path / "out/a.txt").read_text() == "first"


def test_what_run_open_creates_it_creates_once(go):
    make = "run.path('a.txt').write_text('first')"
    with pytest.raises(FileExistsError, match=r"a\.txt: exists already.*write it again by open"):
        go(f"{make}; run.open('a.txt')")
    with pytest.raises(ValueError, match='"x" or "r" only'):
        go("run.open('a.txt', 'w')")


def test_what_is_noted_is_bounded(go):
    found = go("for n in range(50): os.getenv(f'V{n:02}'); os.getenv('V00')")
    assert found["environment"] == [f"V{n:02}" for n in range(20)] + ["and 30 more"]


def test_after_the_run_nothing_is_watched(go, tmp_path):
    go("None")
    (tmp_path / "out/end.txt").write_text("mine again")
    assert type(os.environ).__name__ == "_Environ"
    assert tempfile.gettempdir()
    assert Path("/proc/self/stat").read_text()

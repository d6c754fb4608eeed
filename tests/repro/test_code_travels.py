"""A user's code goes to the workers with the run: they compute from it in an empty folder, and keep it for ever."""

import json
import shutil
import signal
import subprocess
import time

import fsspec
import pytest

from tests.repro.test_own_stages import Place
from tests.worker.test_worker import wait_for

TRAIN = """
import os, time
from pathlib import Path

import torch

import config, scheduler, worker
from model.net import step
from stages.own import NAME
from utils.maths import double


def train(run):
    kept = run.resume()
    begin, total = (kept.step, kept.tensors["total"]) if kept else (0, torch.zeros(1, dtype=torch.float64))
    for number in range(begin, run.params["steps"]):
        total = total + double(step(number)) * scheduler.RATE
        run.progress(number + 1, run.params["steps"], mass=total.item())
        if run.checkpoint_due(number + 1, 5):
            run.checkpoint(number + 1, {"total": total})
        if number == 7 and run.params.get("hold", ""):
            while Path(run.params["hold"]).exists():
                time.sleep(0.01)
    with run.open("result.txt") as file:
        file.write(f"{NAME} {config.WHO} {worker.WHO} {total.item():.17g}")
    return {"mass": total}


def meets(run):
    meeting = Path(run.params["meeting"])
    (meeting / run.name).touch()
    while len(list(meeting.iterdir())) < 2:
        time.sleep(0.01)
    with run.open("result.txt") as file:
        file.write(f"{NAME} {config.WHO}")


def fails(run):
    raise ValueError(config.WHO)
"""
FILES = {
    "src/model/__init__.py": "",
    "src/model/net.py": "from utils.maths import double\n\ndef step(number):\n    return double(number) / 3\n",
    "utils/__init__.py": "",
    "utils/maths.py": "def double(x):\n    return 2 * x\n",
    "stages/__init__.py": "",
    "stages/own.py": 'NAME = "mine"\n',
    "scheduler.py": "RATE = 0.1\n",
    "worker.py": 'WHO = "their worker"\n',
    "config.py": 'WHO = "WHO"\n',
    "train.py": TRAIN,
    "flags.py": """
import argparse
import config
from utils.maths import double
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.5)
with open("result.txt", "w") as file:
    file.write(f"{config.WHO} {double(parser.parse_args().rate)}")
""",
    "typed.py": """
from dataclasses import dataclass
import config
from utils.maths import double

@dataclass
class Options:
    rate: float = 0.5
    widths: tuple = (1, 2)

def fit(run):
    options = run.options(Options)
    with run.open("result.txt") as file:
        file.write(f"{config.WHO} {double(options.rate)} {options.widths}")
""",
}


class Project(Place):
    """A user's project, in which he submits."""

    def __init__(self, folder, environment, database, who="they"):
        super().__init__(folder, environment | {"PYTHONPATH": "src"}, database)
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text.replace('"WHO"', f'"{who}"'))
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
        self.well("git", "init")
        self.well(*git, "add", "--all")
        self.well(*git, "commit", "--message", "all")

    def result(self, name):
        with fsspec.open(f"{self.run(name)['location']}/result.txt", "r", skip_instance_cache=True) as file:
            return file.read()


class Machine:
    """One that has the product, the libraries, MongoDB and the store; an empty folder, and a home of its own."""

    def __init__(self, folder, environment):
        self.folder, kept = folder, {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "REPRO_DATA")}
        self.environment = kept | {"REPRO_HOME": str(folder / "home"), "HOME": str(folder)}
        (folder / "empty").mkdir(parents=True)

    def start(self, *words):
        command = ("repro-worker", "--gpus", "none", "--cpus", "2", *words)
        return subprocess.Popen(command, cwd=self.folder / "empty", env=self.environment, stderr=subprocess.PIPE)

    def work(self):
        worker = self.start("--burst")
        told = worker.communicate(timeout=300)[1].decode()
        assert worker.returncode == 0, told
        return told


@pytest.fixture(params=["S3", "folder"])
def there(request, settings_environment, monkeypatch):
    """The environment with a store that all machines reach."""
    if request.param == "folder":
        return settings_environment
    server = request.getfixturevalue("seaweedfs")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return settings_environment | server.environment | {"REPRO_STORE": f"s3://{server.bucket()}/runs"}


@pytest.fixture
def project(there, tmp_path, database):
    return Project(tmp_path / "project", there, database)


@pytest.fixture
def machine(there, tmp_path):
    return Machine(tmp_path / "machine", there)


def test_it_computes_where_nobody_has_seen_the_code_and_leaves_it_beside_the_result(project, machine, tmp_path):
    project.write("m.json", {"stage": "train:train", "steps": 20})
    project.write("config.py", 'WHO = "not committed"\n')
    project.write("notes.txt", "not tracked")
    project.well("repro", "run", "m.json", "--root", str(tmp_path / "alone"))
    submitted = project.well("repro-submit", "m.json")
    assert submitted.stderr == ""  # nothing to note: what is not committed is in the store
    shutil.copytree(project.folder, tmp_path / "as-it-was")
    for name in FILES:  # what comes later does not reach it
        (project.folder / name).unlink()
    machine.work()
    run = project.run("m")
    assert run["state"] == "done", run["error"]
    assert project.result("m") == (tmp_path / "alone/m/result.txt").read_text()
    assert project.result("m").startswith("mine not committed their worker ")
    assert run["environment"]["dirty"] is True
    assert run["environment"]["code"] == run["code"]["digest"]
    with fsspec.open(f"{run['location']}/repro-run.json", skip_instance_cache=True) as file:
        assert json.load(file)["code"] == run["code"]
    assert run["code"]["location"].endswith(f"/code/{run['code']['archive']}.tar.gz")
    assert project.well("repro", "code", "m").stdout == "m: m-code\n"
    for name in (*FILES, "notes.txt"):
        assert (project.folder / "m-code/0" / name).read_text() == (tmp_path / "as-it-was" / name).read_text()
    assert project.well("git", "status", "--porcelain", "m-code").stdout == ""  # nor does it travel with the next run
    again = project("repro", "code", "m")
    assert (again.returncode, again.stderr) == (2, "error: m-code is there already; take another folder with --into\n")


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_the_difference_of_the_code_of_two_runs(project, machine):
    project.write("m.json", {"stage": "train:train", "steps": 2})
    project.write("n.json", {"stage": "train:train", "steps": 3})
    project.well("repro-submit", "m.json")
    project.write("n.json", {"stage": "train:train", "steps": 4})
    project.well("repro-submit", "n.json", "--name", "same")
    (project.folder / "n.json").unlink()
    project.write("config.py", 'WHO = "another"\n')
    project.write("n.json", {"stage": "train:train", "steps": 3})
    project.well("repro-submit", "n.json")
    found = project("repro", "code", "m", "n")
    assert found.returncode == 1
    assert '-WHO = "they"\n+WHO = "another"\n' in found.stdout
    assert "train.py" not in found.stdout
    assert (project("repro", "code", "m", "m").returncode, project("repro", "code", "m", "m").stdout) == (0, "")


@pytest.mark.parametrize("there", ["S3"], indirect=True)
def test_killed_and_resumed_on_another_machine_while_the_project_is_edited(project, there, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    project.write("m.json", {"stage": "train:train", "steps": 20, "hold": str(hold)})
    project.well("repro-submit", "m.json")
    first = Machine(tmp_path / "first", there).start("--lease", "3")
    try:
        wait_for(lambda: (project.run("m").get("checkpoint") or {}).get("step") == 5)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    project.write("scheduler.py", "RATE = 99.0\n")
    subprocess.run(["chmod", "-R", "u+w", tmp_path / "first"], check=True)  # the code there is read-only
    shutil.rmtree(tmp_path / "first")
    hold.unlink()
    wait_for(lambda: project.run("m")["lease"]["expires_at"].timestamp() < time.time())
    Machine(tmp_path / "second", there).work()
    run = project.run("m")
    assert (run["state"], run["attempts"]) == ("done", 2)
    log = project.well("repro", "logs", "m").stdout
    assert "step 5" in log
    project.write("scheduler.py", FILES["scheduler.py"])
    project.well("repro", "run", "m.json", "--root", str(tmp_path / "alone"))
    assert project.result("m") == (tmp_path / "alone/m/result.txt").read_text()


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_no_module_of_it_comes_from_where_the_worker_is(project, machine):
    """Neither one that the project has, too, nor one that did not travel."""
    project.write(".gitignore", "ignored.py\n")
    project.write("ignored.py", 'WHO = "ignored"\n')
    project.write("late.py", "def stage(run):\n    import importlib\n    importlib.import_module('ignored')\n")
    project.write("m.json", {"stage": "train:train", "steps": 3})
    project.write("late.json", {"stage": "late:stage"})
    project.well("repro-submit", "m.json", "late.json")
    for place in (machine.folder / "empty", machine.folder / "lib"):
        place.mkdir(exist_ok=True)
        for name in ("config", "ignored", "scheduler", "train"):
            (place / f"{name}.py").write_text('WHO, RATE = "of the worker", 0.1\n')
    machine.environment["PYTHONPATH"] = str(machine.folder / "lib")
    machine.work()
    assert project.result("m").startswith("mine they their worker")
    assert project.run("late")["error"]["type"] == "ModuleNotFoundError"


@pytest.mark.parametrize("there", ["S3"], indirect=True)
def test_two_projects_with_the_same_names_at_once(project, machine, there, tmp_path, database):
    other = Project(tmp_path / "other", there, database, who="others")
    (tmp_path / "meeting").mkdir()
    for place, name in ((project, "a"), (other, "b")):
        place.write(f"{name}.json", {"stage": "train:meets", "meeting": str(tmp_path / "meeting")})
        place.well("repro-submit", f"{name}.json", "--again")
    machine.work()
    assert [project.result(name) for name in "ab"] == ["mine they", "mine others"]


@pytest.mark.parametrize("there", ["folder"], indirect=True)
@pytest.mark.parametrize("stage", ["script:flags.py", "typed:fit"])
def test_a_script_and_typed_options(project, machine, tmp_path, stage):
    project.write("m.json", {"stage": stage, "rate": 4.0})
    project.well("repro", "run", "m.json", "--root", str(tmp_path / "alone"))
    project.well("repro-submit", "m.json")
    refused = project("repro-submit", "m.json", "--set", "rat=1")
    assert (refused.returncode, 'did you mean "rate"?' in refused.stderr) == (2, True)
    for name in FILES:
        (project.folder / name).unlink()
    machine.work()
    assert project.result("m") == (tmp_path / "alone/m/result.txt").read_text()
    assert project.result("m").startswith("they 8.0")


@pytest.mark.parametrize("there", ["S3"], indirect=True)
def test_a_rerun_takes_todays_code(project, machine):
    project.write("m.json", {"stage": "train:train", "steps": 3})
    project.well("repro-submit", "m.json")
    machine.work()
    project.write("scheduler.py", "RATE = 0.1  # as it was\n")
    project.well("repro", "verify", "m", "--no-wait")
    machine.work()
    assert project.well("repro", "verify", "--collect").stdout.startswith("m: identical")
    project.write("scheduler.py", "RATE = 0.2\n")
    project.well("repro", "verify", "m", "--no-wait")
    machine.work()
    assert project("repro", "verify", "--collect").stdout.startswith("m: different")


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_who_tries_again_says_with_which_code(project, machine):
    project.write("m.json", {"stage": "train:fails"})
    project.well("repro-submit", "m.json")
    machine.work()
    assert project.run("m")["error"]["message"] == "they"
    project.write("config.py", 'WHO = "mended"\n')
    project.well("repro", "retry", "m")
    machine.work()
    assert project.run("m")["error"]["message"] == "they"
    project.well("repro", "retry", "m", "--code")
    machine.work()
    assert project.run("m")["error"]["message"] == "mended"
    project.write("train.py", "def other(run): ...\n")
    refused = project("repro", "retry", "m", "--code")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "train.py has no fails" in refused.stderr


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_code_that_stays_here_is_not_started_elsewhere(project, machine):
    project.write("m.json", {"stage": "train:train", "steps": 3})
    project.well("repro-submit", "m.json", "--here")
    assert "location" not in project.run("m")["code"]
    machine.work()
    run = project.run("m")
    assert (run["state"], run["attempts"]) == ("pending", 0)
    assert "no Python module train" in run["history"][-1]["why"]
    project.write("scheduler.py", "RATE = 0.5\n")
    project.work()  # as it is when it runs
    assert project.result("m").endswith(" 2")


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_what_can_not_go_is_refused_and_nothing_is_inserted(project):
    project.write("m.json", {"stage": "train:train", "steps": 3})
    (project.folder / "weights.bin").write_bytes(bytes(51_000_000))
    refused = project("repro-submit", "m.json")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "weights.bin (51.0 MB)" in refused.stderr
    assert "--here" in refused.stderr
    assert project.run("m") is None
    project.write(".reproignore", "*.bin\n")
    project.environment |= {"REPRO_STORE": "s3://nowhere/runs", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    refused = project("repro-submit", "m.json")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "--here" in refused.stderr
    assert project.run("m") is None


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_before_anybody_has_said_where_the_results_lie_the_code_stays(project, machine):
    project.write("m.json", {"stage": "train:train", "steps": 3})
    store = project.environment.pop("REPRO_STORE")
    assert "note: the code of these runs stays here" in project.well("repro-submit", "m.json").stderr
    assert "location" not in project.run("m")["code"]
    machine.work()  # says it
    project.write("n.json", {"stage": "train:train", "steps": 4})
    assert project.well("repro-submit", "n.json").stderr == ""
    assert project.run("n")["code"]["location"].startswith(f"file://{store}/code/")


@pytest.mark.parametrize("there", ["folder"], indirect=True)
def test_the_store_alone_gives_back_whose_code_it_was(project, machine, database):
    project.write("m.json", {"stage": "train:train", "steps": 3})
    project.well("repro-submit", "m.json")
    machine.work()
    code = project.run("m")["code"]
    project.well("repro", "gc", "--delete", "--older-than", "0")
    database.runs.delete_many({})
    project.well("repro", "rebuild")
    assert project.run("m")["code"] == code
    project.well("repro", "code", "m")
    assert (project.folder / "m-code/0/train.py").read_text() == TRAIN
    project.write("twin.json", {"stage": "train:train", "steps": 3})
    project.write("scheduler.py", "RATE = 7\n")
    assert "done at once" in project.well("repro-submit", "twin.json").stdout
    assert project.run("twin")["code"] == code  # that which has computed it

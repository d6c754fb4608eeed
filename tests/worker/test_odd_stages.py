"""Whatever a stage does to its folder and its process: a right result or one clear line, on the queue and alone."""

import gzip
import hashlib
import json
import os
import stat
import sys

import pytest
import torch  # noqa: F401 - once here, and not in every fork

from repro.stages.errors import ConfigError
from repro.stages.params import Params
from repro.stages.run import CONFIG, MANIFEST, OWN_FILES
from repro.stages.running import determinism, ending, resume, standalone, terminal_report
from repro.stages.source import registry
from repro.worker.process.fork_client import ForkServer
from tests import odd
from tests.worker.conftest import Bench

OUTSIDE = 0o640


@pytest.fixture(scope="module")
def odd_server(toy_path):
    odd.install(toy_path)  # before its server starts: the entry points are read once
    registry.available.cache_clear()
    with ForkServer() as server:
        yield server


@pytest.fixture
def outside(tmp_path):
    """Files of somebody else."""
    (tmp_path / "outside/sub").mkdir(parents=True)
    (tmp_path / "outside/own.txt").write_text("own")
    (tmp_path / "outside/own.txt").chmod(OUTSIDE)
    (tmp_path / "outside/sub/x.txt").write_text("x")
    yield tmp_path / "outside"
    assert stat.S_IMODE((tmp_path / "outside/own.txt").stat().st_mode) == OUTSIDE
    assert [path.name for path in (tmp_path / "outside/sub").iterdir()] == ["x.txt"]


@pytest.fixture
def queue(database, tmp_path, odd_server):
    return Bench(database, tmp_path, odd_server)


def config_of(stage, outside):
    return {"stage": f"toy_{stage.__name__}"} | ({"outside": str(outside)} if stage is odd.links else {})


def alone(folder, name, config):
    """Run a config as the command does, in a fork that ends as a process does; its exit code, and what it said."""
    (folder / f"{name}.json").write_text(json.dumps(config))
    said = folder / f"{name}.said"
    pid = os.fork()
    if pid == 0:
        try:
            handle = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, 1)
            sys.stdout = sys.stderr = os.fdopen(os.dup2(handle, 2), "w", buffering=1)
            ending.forget_inherited()
            standalone.start_again_in = lambda environment: True
            options = standalone.Options(root=folder / "runs")
            os._exit(terminal_report.exit_code(lambda: standalone.start(folder / f"{name}.json", options)))
        finally:
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, said.read_text()


def differences(folder, recorded):
    """What the stage wrote is what is there, byte for byte and name for name, and what was recorded of it."""
    there = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if not p.is_dir()}
    there = {name: path for name, path in there.items() if name not in OWN_FILES}
    wrong = [name for name, path in there.items() if path.is_symlink()]
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()}
    return wrong, sums.items() ^ {output["path"]: output["sha256"] for output in recorded}.items()


def check(folder, recorded, wanted):
    assert differences(folder, recorded) == ([], set())
    assert {output["path"] for output in recorded} == wanted.keys()
    assert all((folder / name).read_bytes() == data for name, data in wanted.items() if data is not None)
    if (folder / "a.gz").exists():
        assert gzip.decompress((folder / "a.gz").read_bytes()) == b"packed"


def test_odd_stages_on_the_queue(queue, outside):
    for stage in odd.CASES:
        config = {key: value for key, value in config_of(stage, outside).items() if key != "stage"}
        queue.submit(stage.__name__, stage.__name__, **config)
    queue.work(cpus=2)
    for stage, wanted in odd.CASES.items():
        run = queue.get(stage.__name__)
        if isinstance(wanted, str):
            assert (run["state"], run["attempts"]) == ("failed", 1), (stage, run.get("error"))
            assert wanted in run["error"]["message"]
        else:
            assert run["state"] == "done", (stage, run.get("error"))
            outputs = json.loads((queue.folder_of(stage.__name__) / MANIFEST).read_text())["outputs"]
            check(queue.folder_of(stage.__name__), outputs, wanted)


def test_odd_stages_alone(toy_path, odd_server, outside, tmp_path):
    determinism.apply(Params({}))  # what it imports is imported once, and not in every fork
    for stage, wanted in odd.CASES.items():
        code, said = alone(tmp_path, stage.__name__, config_of(stage, outside))
        folder = tmp_path / "runs" / stage.__name__
        if isinstance(wanted, str):
            assert code != 0, (stage, said)
            assert wanted in said
            assert "Traceback" not in said
            assert stage is odd.takes_our_name or not (folder / MANIFEST).exists()
        else:
            assert code == 0, (stage, said)
            check(folder, json.loads((folder / MANIFEST).read_text())["outputs"], wanted)


def test_what_a_link_leads_to_in_an_input_is_passed_on(queue):
    queue.submit("data", "write", text="a")
    queue.submit("odd", "links_oddly", source=["data"])
    queue.work()
    location = queue.get("data")["location"] + "/text.txt"
    outputs = queue.get("odd")["outputs"]
    assert [(o["path"], o["location"]) for o in outputs] == [("a.txt", location), ("b.txt", location)]


def test_a_program_stays_one(queue):
    queue.submit("made", "makes_a_program")
    queue.submit("used", "runs_the_program", source=["made"])
    queue.work()
    assert [output["executable"] for output in queue.get("made")["outputs"]] == [True]
    assert (queue.folder_of("used") / "said.txt").read_text() == "gone\n"


@pytest.mark.parametrize(("stage", "said"), [("ends_by_itself", "left with code 3"), ("signals_itself", "SIGUSR1")])
def test_a_process_that_ends_oddly_is_told(queue, stage, said):
    queue.submit(stage, stage)
    worker = queue.worker(max_runs=1)
    worker.run()
    assert said in str(worker.console.outcomes[stage])


def test_a_run_under_way_is_not_resumed_by_another(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / CONFIG).write_text("{}")
    held = resume.hold(tmp_path / "model")
    with pytest.raises(ConfigError, match="still under way"):
        resume.hold(tmp_path / "model")
    os.close(held)
    os.close(resume.hold(tmp_path / "model"))

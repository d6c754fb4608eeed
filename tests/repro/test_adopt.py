"""docs/adopt.md, step by step: a training script as it is, and as a function that goes on where it was killed."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.repro.test_own_stages import Place
from tests.worker.test_worker import wait_for

EXAMPLE = Path(__file__).parents[2] / "docs/examples/adopt"
TEXT = "the quick brown fox jumps over the lazy dog; " * 40


@pytest.fixture
def place(tmp_path, settings_environment, database):
    found = Place(tmp_path / "project", settings_environment, database)
    (tmp_path / "words.txt").write_text(TEXT)
    found.well("git", "init")
    return found


def give(place, name, **values):
    path = place.folder / "configs" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def best(place, name):
    return (Path(place.run(name)["location"].removeprefix("file://")) / "best.pt").read_bytes()


def test_as_it_is(place, tmp_path):
    shutil.copy(EXAMPLE / "before/train.py", place.folder)
    told = place.well("repro", "init", "train.py").stdout
    assert "it has no default of: text" in told
    give(place, "train.json", text=str(tmp_path / "words.txt"))
    place.well("repro", "run", "configs/train.json", "--name", "try")
    place.well("repro", "submit", "configs/train.json")
    place.well("repro", "submit", "configs/train.json", "--set", "lr=0.01")
    place.work()
    assert [place.run(name)["state"] for name in ("train", "traina")] == ["done", "done"]
    assert best(place, "train") == (place.folder / "runs/try/best.pt").read_bytes()
    assert best(place, "train") != best(place, "traina")
    assert place.run("train")["metrics"]["loss"] < 3
    refused = place("repro", "submit", "configs/train.json", "--set", "hiden=64")
    assert 'did you mean "hidden"?' in refused.stderr
    assert "0.01" in place.well("repro", "diff", "train", "traina").stdout
    place.well("repro", "losses", "train", "traina", "-o", "losses.png")


def test_as_a_function_that_is_killed_and_goes_on(place, tmp_path):
    shutil.copy(EXAMPLE / "after/train.py", place.folder)
    place.well("repro", "init", "train.py:main", "--name", "model")
    give(place, "model.json", text=str(tmp_path / "words.txt"), steps=400)
    place.well("repro", "run", "configs/model.json")
    place.well("repro", "submit", "configs/model.json")
    command = ["repro-worker", "--gpus", "none", "--lease", "5"]
    worker = subprocess.Popen(command, env=place.environment, cwd=place.folder, stderr=subprocess.DEVNULL)
    wait_for(lambda: (place.run("model").get("progress") or {}).get("step", 0) > 20)
    for _ in range(2):  # the second one hands it back, with a checkpoint
        worker.send_signal(signal.SIGINT)
    worker.wait(300)
    run = place.run("model")
    if run["state"] != "done":
        assert run["checkpoint"]["step"] > 20
    place.work()
    run = place.run("model")
    assert run["state"] == "done", run["error"]
    assert best(place, "model") == (place.folder / "runs/model/best.pt").read_bytes()


def test_the_page_shows_what_the_files_have():
    page = (EXAMPLE.parents[1] / "adopt.md").read_text()
    before, after = ((EXAMPLE / which / "train.py").read_text() for which in ("before", "after"))
    assert 'parser.add_argument("--lr", type=float, default=3e-3)' in before
    for line in ('params.get("lr", 3e-3)', "range(run.load_state(model=model, optimizer=optimizer, best=best), steps)",
                 "run.progress(step + 1, steps, loss=loss)", "if run.checkpoint_due(step + 1):"):  # fmt: skip
        assert line in after
        assert line in page

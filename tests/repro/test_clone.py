"""`repro clone` as a user types it."""

import json
import os
import sys

import pytest

from tests.repro.terminal import golden, on_terminal

MODEL = {"stage": "train", "source": "augmentation", "lr": 0.003, "epochs": 20}
CHAIN = {"data": {"stage": "make_dataset", "images": "*.png"}, "augmentation": {"stage": "augment", "source": "data"}}
GRID = ("clone", "model", "--set", "lr=1e-2,1e-3", "--set", "epochs=5,20", "--dry-run")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    for name, config in (CHAIN | {"model": MODEL}).items():
        (tmp_path / "configs" / f"{name}.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "configs"


@pytest.fixture
def repro(cli, folder):
    return lambda *words, **more: cli(sys.executable, "-m", "repro", *words, **more)


def test_in_its_three_forms(repro, folder, settings_environment):
    words = [sys.executable, "-m", "repro", *GRID]
    golden("clone.terminal", on_terminal(words, settings_environment))
    golden("clone.txt", repro(*GRID).stdout)
    golden("clone.json", repro(*GRID, "--json").stdout)
    assert not (folder / "modela.json").exists()


def test_clone_writes_a_file_and_diff_shows_what_was_set(repro, folder):
    done = repro("clone", "configs/model.json", "--set", "lr=1e-3")
    assert done.stdout == "modela: lr=0.001, written: configs/modela.json\n"
    assert json.loads((folder / "modela.json").read_text()) == MODEL | {"lr": 0.001}
    assert repro("diff", "configs/model.json", "configs/modela.json").stdout == "name,lr\nmodel,0.003\nmodela,0.001\n"
    assert repro("clone", "model", "--set", "lr=1e-3").stdout.startswith("modela: lr=0.001, is there already")


def test_clones_are_submitted_and_their_letters_are_those_of_the_queue_too(repro, folder, database):
    repro("submit", "configs/model.json", "--set", "epochs=1")
    done = repro("clone", "model", "--set", "lr=log:1e-4..1e-1", "--random", "2", "--submit", "--tag", "sweep")
    assert [line.partition(",")[0] for line in done.stdout.splitlines()[-2:]] == [
        "modelb: submitted",
        "modelc: submitted",
    ]
    assert database.runs.find_one({"_id": "modelb"})["tags"] == ["sweep"]
    assert not (folder / "modela.json").exists()


def test_a_run_of_the_queue_without_a_file_is_cloned(repro, folder):
    repro("submit", "configs/model.json")
    os.remove(folder / "model.json")  # noqa: PTH107
    assert "modela: seed=1, written" in repro("clone", "model", "--set", "seed=1").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model", "--set", "lr=0.003"], "would change nothing"),
        (["model", "--set", "lrr=1"], 'did you mean "lr"'),
        (["model", "--set", "epochs=many"], "expected an integer"),
        (["model", "--set", "lr=1..2"], "--random N"),
        (["nothing", "--set", "lr=1"], "no such run: nothing"),
        (["model", "--set", "lr"], "key=value"),
    ],
)
def test_what_is_refused_is_one_line_and_writes_nothing(repro, folder, words, text):
    done = repro("clone", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert text in done.stderr
    assert len(list(folder.iterdir())) == 3

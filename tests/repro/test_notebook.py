"""`import repro`: the example of docs/python.md as it stands there, and what it must not import."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pandas
import pytest
from PIL import Image

import repro
from repro import notebook
from repro.scheduler import runs
from repro.stages.errors import ReproError, StageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def test_importing_it_imports_nothing_heavy():
    code = "import sys, repro; print({'pymongo', 'torch', 'pandas', 'numpy', 'click', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert dir(repro) == sorted(repro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = repro.nothing


@pytest.fixture
def here(settings_environment, database, monkeypatch):
    """This process is the notebook."""
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    notebook._connected.cache_clear()
    yield
    for _ in range(notebook._connected.cache_info().currsize):
        notebook._queue().client.close()
    notebook._connected.cache_clear()


def test_the_documented_example(here, cli, tmp_path, monkeypatch, capsys):
    for number in range(24):
        path = Path(os.environ["REPRO_DATA"]) / "images" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 40 + 100 * (number % 2) + number).save(path)
    chain = {
        "data": {"stage": "make_dataset", "images": "images/**/*.png", "validation": 0.25},
        "model": {"stage": "train", "source": "augmentation", "lr": 0.003, "epochs": 2, "batch_size": 8},
        "augmentation": {"stage": "augment", "source": "data"},
    }
    (tmp_path / "configs").mkdir()
    for name, config in chain.items():
        (tmp_path / "configs" / f"{name}.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    words = ("repro", "worker", "--gpus", "none", "--max-runs", "4")
    worker = Thread(target=cli, args=words, kwargs={"timeout": 110})
    worker.start()
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with pandas.option_context("display.width", 300, "display.max_columns", 20):
        exec(compile(example, str(DOCUMENT), "exec"), {})
    worker.join()
    shown = capsys.readouterr().out
    assert "modela" in shown
    assert "metrics.validation_accuracy" in shown
    assert "epoch,train_loss,validation_loss,validation_accuracy" in shown


@pytest.fixture
def two(here, database):
    metrics = {"a": {"accuracy": 0.5}, "b": {}}
    documents = [
        runs.document(n, {"stage": "train", "lr": lr, "state": "x"}, n, [], [], metrics=metrics[n], outputs=[])
        for n, lr in (("a", 0.1), ("b", 0.2))
    ]
    runs.restore(database, documents)


def test_a_frame_of_some_runs(two):
    assert list(repro.frame().index) == ["a", "b"]
    assert list(repro.frame("b*")["lr"]) == [0.2]
    assert list(repro.frame(["a", "b"]).index) == ["a", "b"]
    found = repro.frame({"config.lr": {"$lt": 0.15}})
    assert (found.loc["a", "metrics.accuracy"], found.loc["a", "config.state"]) == (0.5, "x")
    assert found.loc["a", "state"] == "done"
    assert list(repro.frame({"stage": "none"}).columns) == list(notebook.FACTS)


def test_a_diff_as_a_frame(two):
    assert repro.diff("a", "b", metrics=True)["lr"].to_dict() == {"a": 0.1, "b": 0.2}


def test_what_is_not_there_raises_in_one_line(two):
    with pytest.raises(ReproError, match="no such run: c"):
        repro.run("c")
    with pytest.raises(StageError, match=r"a has no output x.csv; it has: none"):
        repro.run("a").open("x.csv")
    with pytest.raises(ValueError, match="only read"):
        repro.run("a").open("x.csv", "w")

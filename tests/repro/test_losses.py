"""`repro losses`: from folders and from the queue, live ones too; on a terminal, in a pipe, as JSON, in a file."""

import json
import sys

import pytest

from repro.scheduler import runs
from repro.scheduler.live import points
from repro.views import curve_plot
from tests.repro.terminal import golden, on_terminal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, (name, lr) in enumerate({"model": 0.1, "modela": 0.01}.items()):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        config = {"stage": "train", "lr": lr}
        (run / "repro-config.json").write_text(json.dumps(config))
        mark = {"name": name, "config": config, "params": {}, "metrics": {}}
        (run / "repro-run.json").write_text(json.dumps(mark))
        rows = [f"{e},{4 / (e + number):.4f},{5 / (e + number):.4f}" for e in range(1, 9)]
        (run / "losses.csv").write_text("\n".join(["epoch,train_loss,validation_loss", *rows, ""]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def losses(cli):
    return lambda *words, **more: cli(sys.executable, "-m", "repro", "losses", *words, **more)


FOLDERS = ("runs/model", "runs/modela")


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal(folder, settings_environment, columns):
    words = [sys.executable, "-m", "repro", "losses", *FOLDERS, "--log"]
    golden(f"losses-{columns}.terminal", on_terminal(words, settings_environment, columns))


def test_in_a_pipe_and_as_json(folder, losses):
    golden("losses.csv", losses(*FOLDERS).stdout)
    golden("losses.json", losses(*FOLDERS, "--json", "--figure", "train_loss").stdout)


@pytest.mark.parametrize(("name", "begin"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml"), ("x.pdf", b"%PDF")])
def test_into_a_new_file(folder, losses, name, begin):
    assert losses(*FOLDERS, "-o", name, "--log", "--smooth", "0.5").stdout == f"{name}\n"
    assert (folder / name).read_bytes().startswith(begin)
    again = losses(*FOLDERS, "-o", name)
    assert (again.returncode, again.stderr) == (2, f"error: {name}: is there already; nothing was drawn\n")


def test_the_legend_of_a_picture_names_the_parameters_that_differ(folder, losses):
    losses(*FOLDERS, "-o", "x.svg")
    drawn = (folder / "x.svg").read_text()
    assert "model  lr=0.1<" in drawn
    assert "modela  lr=0.01<" in drawn
    assert {curve_plot.FEW[0].lower(), curve_plot.FEW[1].lower()} <= set(drawn.lower().replace(";", " ").split())


def test_a_running_run_is_drawn_beside_one_that_is_done(folder, losses, database):
    runs.submit(database, [runs.document("live", {"stage": "train", "epochs": 4}, "f", [], [])])
    assert "live is pending and has no curve" in losses("runs/model", "live").stderr
    token = runs.claim(database, "w", [0], 30)["lease"]["token"]
    for step in (10, 20):
        points.append(database, token, points.Point(step, 40, {"loss": 1.5}))
    found = json.loads(losses("runs/model", "live", "--json").stdout)
    assert {curve["run"] for curve in found} == {"model", "live"}
    assert [curve["x"] for curve in found if curve["run"] == "live"] == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["runs/model", "-o", "x.jpg"], 2, ".png, .svg, .pdf"),
        (["runs/model", "--figure", "speed"], 1, "has no such figure; there are: train_loss, validation_loss"),
        (["nothing"], 2, "no such run"),
    ],
)
def test_what_can_not_be_drawn_is_one_line(folder, losses, words, code, text):
    done = losses(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert text in done.stderr


def test_many_runs_have_many_colours():
    assert len(set(curve_plot.colours(40))) == 40

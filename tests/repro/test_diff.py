"""`repro diff` on a terminal, in a pipe and as JSON; on runs, on files and on both."""

import json
import sys

import pytest

from repro.scheduler import runs
from tests.repro.terminal import golden, on_terminal


def restored(name, config, metrics, **defaults):
    """A done run, as a rebuild of the queue would insert it."""
    params = {k: {"value": v, "default": False} for k, v in config.items()}
    params |= {k: {"value": v, "default": True} for k, v in defaults.items()}
    sources = [config["source"]] if "source" in config else []
    return runs.document(name, config, name, sources, [], metrics=metrics, params=params)


@pytest.fixture
def folder(tmp_path):
    config = {"stage": "train", "source": "augmentation", "lr": 0.1, "epochs": 20}
    (tmp_path / "fresh.json").write_text(json.dumps(config))
    (tmp_path / "augmentation.json").write_text(json.dumps({"stage": "augment", "rotation": 5.0}))
    return tmp_path


@pytest.fixture
def queue(database):
    train = {"stage": "train", "source": "augmentation"}
    documents = [
        restored("augmentation", {"stage": "augment", "rotation": 5.0}, {}, scale=0.1),
        restored("augmentationa", {"stage": "augment", "rotation": 9.0}, {}, scale=0.1),
        restored("model", train | {"lr": 0.001}, {"accuracy": 0.91234567}, epochs=20, momentum=0.9),
        restored("modela", train | {"lr": 0.01, "note": "two words"}, {"accuracy": 0.95}, epochs=20),
        restored("modelb", train | {"source": "augmentationa", "lr": 0.01, "epochs": 5}, {"accuracy": 0.5}),
    ]
    assert runs.restore(database, documents) == []


@pytest.fixture
def diff(cli):
    return lambda *words, **more: cli(sys.executable, "-m", "repro", "diff", *words, **more)


WORDS = ("model*", "--metrics", "--sort", "-accuracy")


@pytest.mark.parametrize("columns", [80, 40])
def test_on_a_terminal(queue, settings_environment, columns):
    words = [sys.executable, "-m", "repro", "diff", *WORDS]
    golden(f"diff-{columns}.terminal", on_terminal(words, settings_environment, columns))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("csv", WORDS),
        ("json", (*WORDS, "--json")),
        ("md", (*WORDS, "--md")),
        ("transposed.csv", (*WORDS, "--transpose")),
        ("lineage.csv", (*WORDS, "--lineage")),
        ("base.csv", (*WORDS, "--base", "model")),
    ],
)
def test_in_a_pipe(queue, diff, form, words):
    done = diff(*words)
    assert done.stderr == ""
    golden(f"diff.{form}", done.stdout)


def test_files_need_no_queue_and_runs_and_files_mix(queue, diff, folder):
    (folder / "other.json").write_text(json.dumps({"stage": "train", "lr": 0.2, "source": "augmentation"}))
    alone = diff(str(folder / "fresh.json"), str(folder / "other.json"), REPRO_MONGO_URL="mongodb://127.0.0.1:1/x")
    assert alone.stdout == "name,lr,epochs,(defaults)\nfresh,0.1,20,\nother,0.2,20,epochs\n"
    mixed = diff("model", str(folder / "fresh.json"), "--json")
    assert [c["values"]["lr"] for c in json.loads(mixed.stdout)] == [0.001, 0.1]


def test_a_folder_of_a_run_has_its_recorded_defaults(folder, diff):
    run = folder / "runs" / "model"
    run.mkdir(parents=True)
    config = {"stage": "train", "lr": 0.3}
    (run / "repro-config.json").write_text(json.dumps(config))
    params = {"lr": {"value": 0.3, "default": False}, "epochs": {"value": 7, "default": True}}
    (run / "repro-run.json").write_text(
        json.dumps({"name": "model", "config": config, "params": params, "metrics": {}})
    )
    found = json.loads(diff(str(run), str(folder / "fresh.json"), "--json").stdout)
    assert found[0]["values"]["epochs"] == 7


def test_what_is_not_there_is_one_line(queue, diff, folder):
    for words, text in (
        (["nothing"], "no such run: nothing"),
        (["x*"], "no run fits x*"),
        ([str(folder / "none.json")], "No such file"),
        (["model", "modela", "--sort", "x"], "no config has this key"),
    ):
        done = diff(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert text in done.stderr


def test_the_same_twice_differs_in_nothing(queue, diff):
    done = diff("model", "model")
    assert (done.stdout, done.stderr) == ("name\nmodel\n", "no parameter differs\n")

"""The five steps without a queue."""

import json
import os
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from repro.stages.running import arguments as command_line
from repro.stages.running import standalone
from repro.stages.source import registry
from tests import sample
from tests.stages.pictures import png

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with sample.offered(tmp_path_factory.mktemp("lab")) as folder:
        yield folder


@pytest.fixture
def go(lab, tmp_path, monkeypatch, capfd):
    """Write a config, run it in this process; the exit code (0 if it went well) and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(standalone, "start_again_in", lambda wanted: None)  # this process is the tests'

    def run(config, *arguments, name="model", stage="sample"):
        text = config if isinstance(config, str) else json.dumps({"stage": "sample"} | config)
        (tmp_path / f"{name}.json").write_text(text)
        code = 0
        try:
            command_line.main(stage, ["-c", f"{name}.json", *arguments])
        except SystemExit as leaving:
            code = leaving.code
        return code, *capfd.readouterr()

    return run


def refused(result, *says, code=2):
    """The one line of a refusal."""
    found, out, err = result
    assert (found, out) == (code, ""), err
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    for part in says:
        assert part in err
    return True


def test_a_folder_with_config_outputs_and_mark(go, tmp_path):
    code, out, err = go({"lr": 0.2})
    assert (code, out) == (0, "runs/model\n")
    assert "3/3  loss" in err
    folder = tmp_path / "runs" / "model"
    assert sorted(p.name for p in folder.iterdir()) == [
        "habits.txt", "machine.txt", "repro-config.json", "repro-curves.csv", "repro-run.json", "seen.json",
        "weights.bin",
    ]  # fmt: skip
    assert (folder / "repro-config.json").read_text() == '{\n  "stage": "sample",\n  "lr": 0.2\n}\n'
    assert stat.S_IMODE((folder / "repro-config.json").stat().st_mode) == 0o444
    mark = json.loads((folder / "repro-run.json").read_text())
    assert mark["name"] == "model"
    assert mark["config"] == {"stage": "sample", "lr": 0.2}
    assert [o["path"] for o in mark["outputs"]] == ["habits.txt", "machine.txt", "seen.json", "weights.bin"]
    assert mark["params"]["channels"] == {"value": 5, "default": True}
    assert mark["environment"]["threads"] == 1
    assert mark["sources"] == {}


def test_the_folder_and_the_config_are_there_before_the_stage_begins(go, tmp_path):
    go({})
    seen = json.loads((tmp_path / "runs/model/seen.json").read_text())
    assert seen == {"repro-config.json": '{\n  "stage": "sample"\n}\n'}


def test_a_stage_that_raises_leaves_its_config_and_no_mark(go, tmp_path):
    code, out, err = go({"fail": True})
    assert (code, out) == (1, "")
    assert err.splitlines()[0].startswith("Traceback")  # its author needs the way there
    assert err.splitlines()[-1] == "error: RuntimeError: first line second line"
    names = sorted(p.name for p in (tmp_path / "runs/model").iterdir())
    assert names == ["repro-config.json", "seen.json"]
    refused(go({}), "runs/model: holds a config")
    assert json.loads((tmp_path / "runs/model/repro-config.json").read_text()) == {"stage": "sample", "fail": True}


@pytest.mark.parametrize("again", [{}, {"lr": 0.5}])
def test_a_second_run_changes_no_byte(go, tmp_path, again):
    assert go({})[0] == 0
    before = sample.everything(tmp_path / "runs")
    refused(go(again), "runs/model: holds a config", "nothing was changed")
    assert sample.everything(tmp_path / "runs") == before


def test_a_folder_with_other_files_is_left_alone(go, tmp_path):
    (tmp_path / "runs/model").mkdir(parents=True)
    (tmp_path / "runs/model/notes.txt").write_text("mine")
    before = sample.everything(tmp_path / "runs")
    refused(go({}), "runs/model: holds")
    assert sample.everything(tmp_path / "runs") == before
    (tmp_path / "runs/model/notes.txt").unlink()
    assert go({})[0] == 0  # an empty one is as good as none


def test_the_merged_config_is_what_is_saved(go, tmp_path):
    arguments = "--conf", '{"lr": 0.3, "steps": 2}', "--set", "steps=1", "--set", "seed=7"
    assert go({"lr": 0.2, "channels": 4}, *arguments)[0] == 0
    merged = {"stage": "sample", "lr": 0.3, "channels": 4, "steps": 1, "seed": 7}
    saved = tmp_path / "runs/model/repro-config.json"
    assert json.loads(saved.read_text()) == merged
    assert json.loads((tmp_path / "runs/model/repro-run.json").read_text())["config"] == merged
    assert json.loads((tmp_path / "model.json").read_text()) == {"stage": "sample", "lr": 0.2, "channels": 4}
    assert go(saved.read_text(), name="copy")[0] == 0  # and it alone gives the same result
    assert sample.outputs(tmp_path / "runs/copy") == sample.outputs(tmp_path / "runs/model")


def test_another_name_and_another_root(go, tmp_path):
    assert go({}, "--name", "modela", "--root", "deep/er")[:2] == (0, "deep/er/modela\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "model.json"]
    refused(go({}, "--name", "../x"), "bad name '../x'")
    refused(go({}, "--name", "x" * 65), "bad name")
    refused(go({}, name="_model"), "_model.json: bad name '_model'")


def test_sources_are_folders_of_the_same_root(go, tmp_path):
    assert go({}, name="data")[0] == 0
    assert go({"source": "data"})[0] == 0
    mark = json.loads((tmp_path / "runs/model/repro-run.json").read_text())
    data = json.loads((tmp_path / "runs/data/repro-run.json").read_text())
    assert mark["sources"] == {"data": {"fingerprint": data["fingerprint"]}}
    assert sample.outputs(tmp_path / "runs/model") != sample.outputs(tmp_path / "runs/data")


def test_a_source_that_is_missing_or_not_finished(go, tmp_path):
    refused(go({"source": "data"}), "source 'data' is not there: runs/data", code=1)
    assert go({"fail": True}, name="data")[0] == 1
    refused(go({"source": "data"}), "source 'data' is not finished: runs/data", code=1)
    assert not (tmp_path / "runs/model").exists()


@pytest.mark.parametrize(
    ("config", "arguments", "says"),
    [
        ({"chanels": 4}, (), ["model.json", 'reads "chanels"; did you mean "channels"?']),
        ({}, ("--set", "chanels=4"), ["model.json", 'did you mean "channels"?']),
        ({"channels": "4"}, (), ["model.json", '"channels": expected an integer']),
        ({"stage": "train"}, (), ["model.json", "repro run model.json"]),
        ({"stage": "sam\nple"}, (), ["model.json"]),
        ({"seed": 1.0}, (), ['"seed": expected an integer']),
        ('{"stage": "sample",}', (), ["model.json:1:20: broken JSON"]),
        ('{"lr": 1}', (), ['no "stage"']),
        ({}, ("--conf", '{"lr": {"a": 1}}'), ["--conf", '"lr_a": 1']),
        ({}, ("--set", "lr"), ["--set 'lr': expected key=value"]),
        ({}, ("--root", "model.json"), ["model.json/.checkpoints: can't be written: Not a directory"]),
        ({}, ("-c", "no\nwhere.json"), ["error: no where.json"]),
        ({}, ("-c", "nowhere.json"), ["nowhere.json: can't be read: No such file"]),
        ({}, ("-c", "."), ["error: .: "]),
    ],
)
def test_what_is_refused_makes_no_folder(go, tmp_path, config, arguments, says):
    refused(go(config, *arguments), *says)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json"]


def test_an_unknown_key_can_be_allowed_and_is_named(go, tmp_path):
    code, _, err = go({"chanels": 4}, "--allow-unknown", "chanels")
    assert code == 0
    assert "never read: chanels\n" in err


def test_bad_threads_are_one_line(go):
    refused(go({"threads": 0}), '"threads": expected 1 or more', code=1)


def test_an_unknown_stage_is_refused_with_the_nearest(lab):
    with pytest.raises(registry.ConfigError) as caught:
        registry.locate("samle", "model.json")
    assert str(caught.value) == 'model.json: unknown stage "samle"; did you mean "sample"?'
    with pytest.raises(registry.ConfigError) as caught:
        registry.locate("a\nb", "model.json")
    assert str(caught.value).isprintable()
    assert "export" in str(caught.value)


def test_a_built_in_name_cannot_be_taken(monkeypatch):
    mine = EntryPoint("train", "mine:train", "repro.stages")
    monkeypatch.setattr(registry, "entry_points", lambda group: [mine])
    sample.forget()
    try:
        assert registry.available()["train"] == "repro.stages.train:train"
    finally:
        sample.forget()


def test_in_a_clone_a_stage_is_a_program(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "0.png").write_bytes(png(0))
    (tmp_path / "data.json").write_text('{"stage": "make_dataset", "images": "images/**/*.png"}')
    words = ["-c", str(tmp_path / "data.json"), "--conf", '{"validation": 0.0}', "--root", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "stages.make_dataset", *words]
    environment = os.environ | {"REPRO_DATA": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/runs/data\n"), done.stderr
    assert (tmp_path / "runs" / "data" / "data.bin").stat().st_size == 36


WRITES_BY_ANOTHER_WAY = """
import subprocess
def make(run):
    run.open("a.txt").write("made")
def spoil(run):
    if run.params["spoil"]:
        subprocess.run(["sh", "-c", "rm -f $0; echo spoilt > $0", str(run.source / "a.txt")], check=True)
"""


def test_a_source_that_is_not_as_it_was_left_is_told(tmp_path):
    """Before a run, and after it: by then it was the stage."""
    (tmp_path / "spoils.py").write_text(WRITES_BY_ANOTHER_WAY)
    (tmp_path / "data.json").write_text('{"stage": "spoils:make"}')
    for name, spoil in (("good", "false"), ("bad", "true"), ("next", "false")):
        (tmp_path / f"{name}.json").write_text(f'{{"stage": "spoils:spoil", "source": "data", "spoil": {spoil}}}')

    def run(name):
        command = [sys.executable, "-m", "repro", "run", f"{name}.json"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert [run(name).returncode for name in ("data", "good")] == [0, 0]
    for name in ("bad", "next"):
        done = run(name)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: runs/data/a.txt is not as its run left it")
        assert not (tmp_path / "runs" / name / "repro-run.json").exists()


def test_a_hermetic_run_draws_on_a_machine_that_has_never_drawn(tmp_path):
    """matplotlib looks for fonts at its first import, and keeps their list below the home."""
    draws = "def draw(run):\n    from matplotlib.figure import Figure\n"
    draws += "    figure = Figure()\n    figure.gca().set_title('a')\n    figure.savefig(run.path('a.png'))\n"
    (tmp_path / "here").mkdir()
    (tmp_path / "here/drawing.py").write_text(draws)
    (tmp_path / "here/a.json").write_text('{"stage": "drawing:draw"}')
    command = [sys.executable, "-m", "repro", "run", "a.json", "--hermetic"]
    (tmp_path / "home/.cache/matplotlib").mkdir(parents=True)
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here/runs/a/a.png").stat().st_size > 1000


def test_a_broken_config_in_a_real_process_is_one_line(tmp_path):
    (tmp_path / "broken.json").write_text('{"stage": "train"\n "lr": 1}')
    command = [sys.executable, "-m", "repro.stages.train", "-c", "broken.json"]
    environment = sample.environment(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: broken.json:2:2: broken JSON: Expecting ',' delimiter\n"
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_of_two_at_once_one_runs(lab, tmp_path):
    (tmp_path / "model.json").write_text('{"stage": "sample"}')
    command = [sys.executable, "-c", sample.MAIN, "-c", "model.json"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=sample.environment(lab), stdout=subprocess.PIPE, stderr=-1)
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    assert (tmp_path / "runs/model/repro-run.json").exists()

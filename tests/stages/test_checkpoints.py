"""Checkpoints: a training that is killed at any moment ends with the bytes of one that never was."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from repro.stages.curve import CurveRecorder
from repro.stages.errors import ConfigError, Stopped
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import checkpoint_files, checkpoints, own_process
from repro.stages.running.checkpoints import Checkpoints
from repro.stages.running.resume import CHECKPOINTS
from repro.stages.running.standalone import Options, run_alone
from repro.stages.source import modules, provenance, registry
from tests.processes import environment_of_a_run
from tests.stages.patterns import dataset, write_patterns
from tests.stages.pictures import files_of

ROOT = Path(__file__).parents[2]
TINY = {"stage": "train", "source": "data", "arch": "mlp", "hidden": 8, "epochs": 3, "batch_size": 5}
VARIANTS = {
    "as_ever": {"checkpoint_every": 1},
    "with_all": {
        **{"arch": "baseline", "channels": 8, "optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "checkpoint_every": 2},
        **{"ema": 0.9, "clip": 1.0, "accumulate": 2, "warmup": 3, "channels_last": True, "label_smoothing": 0.1},
    },
    "on_two_ranks": {"arch": "baseline", "channels": 8, "ranks": 2, "checkpoint_every": 1},
    "bf16": {"arch": "resnet", "blocks": 1, "channels": 8, "precision": "bf16", "checkpoint_every": "1 epoch"},
}
CARDS = {
    "on_a_card": {"gpus": 1, "arch": "resnet", "blocks": 1, "channels": 8, "precision": "bf16", "channels_last": True},
    "on_two_cards": {"gpus": 2, "arch": "baseline", "channels": 8, "ema": 0.9},
}


@pytest.fixture
def work(monkeypatch):
    """In memory where that is a file system: hundreds of checkpoints are made durable here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        folder = Path(name)
        monkeypatch.setenv("REPRO_DATA", name)
        write_patterns(folder / "images", count=10)
        dataset(folder)
        yield folder


def killed(work, kills, seed, config):
    """What came of trainings on `work`'s dataset that were killed so many times."""
    words = [sys.executable, "-m", "tests.stages.kills", work / "runs", str(kills), str(seed), json.dumps(config)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("variant", ["as_ever"])
def test_killed_at_a_few_moments_it_ends_with_the_same_bytes(work, variant):
    seen = killed(work, 10, 0, TINY | VARIANTS[variant])
    assert seen["unequal"] == []
    assert seen["resumed"] >= 1
    assert seen["ends"]["killed"] >= 5


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(work, variant):
    seen = killed(work, 40, list(VARIANTS).index(variant), TINY | VARIANTS[variant])
    assert seen["unequal"] == []
    assert seen["resumed"] >= 10
    assert seen["ends"]["killed"] >= 20
    assert seen["ends"]["stopped"] >= 1
    assert len(seen["struck"]) >= 6


@pytest.mark.cuda
@pytest.mark.parametrize("variant", CARDS)
def test_killed_at_any_moment_it_ends_with_the_same_bytes_on_cards(work, variant):
    config = CARDS[variant] | {"checkpoint_every": 1}
    if torch.cuda.device_count() < config["gpus"]:
        pytest.skip(f"needs {config['gpus']} CUDA devices")
    seen = killed(work, 10, 0, TINY | config)
    assert seen["unequal"] == []
    assert seen["resumed"]


class Process:
    """`python -m repro.stages.train` in a folder, in a process of its own."""

    def __init__(self, work, name, *more, **config):
        (work / f"{name}.json").write_text(json.dumps(TINY | config))
        words = [sys.executable, "-m", "repro.stages.train", "-c", f"{name}.json", *more]
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(words, cwd=work, env=environment_of_a_run(), text=True, **outputs)
        self.checkpoints = work / "runs" / CHECKPOINTS / name

    def wait_for_a_checkpoint(self):
        while not checkpoint_files.steps_in(self.checkpoints):
            assert self.process.poll() is None, self.process.stderr.read()
            threading.Event().wait(0.01)

    def end(self):
        self.said, told = self.process.communicate(timeout=500)
        return self.process.returncode, told


def trained(work, name, kept, **config):
    """The files and metrics of a training that goes on from what is kept in a folder, and its curve as it told it."""
    out = work / "out" / name
    out.mkdir(parents=True)
    checkpoints = Checkpoints(work / kept, "one", "repro.stages.train")
    inputs = {"data": work / "runs" / "data"}
    run = Run(name, Params(TINY | config), inputs, out, checkpoints=checkpoints, curve_file=out.with_suffix(".csv"))
    metrics = own_process.compute(run).metrics
    return files_of(out), metrics, out.with_suffix(".csv").read_text()


@pytest.mark.parametrize("variant", [*VARIANTS][:2])
def test_a_shorter_training_is_the_beginning_of_the_longer_one(work, variant, capfd):
    config = VARIANTS[variant] | {"epochs": 5}
    scratch = {until: trained(work, f"scratch{until}", f"kept{until}", **config, until=until) for until in (2, 4)}
    whole = trained(work, "scratch", "kept", **config)
    for until, (files, metrics, curve) in scratch.items():
        losses = whole[0]["losses.csv"].splitlines()
        assert files["losses.csv"].splitlines() == losses[: until + 1]
        assert metrics["epochs"] == until
        assert whole[2].startswith(curve)
        assert files["model.safetensors"] != whole[0]["model.safetensors"]
    assert trained(work, "a2", "shared", **config, until=2) == scratch[2]
    capfd.readouterr()
    assert trained(work, "a4", "shared", **config, until=4) == scratch[4]
    assert trained(work, "a", "shared", **config) == whole
    steps = scratch[2][2].splitlines()[-1].split(",")[0], scratch[4][2].splitlines()[-1].split(",")[0]
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("going on")]
    assert said == [f"going on from the checkpoint of step {step}" for step in steps]


def test_a_shorter_training_killed_in_between_serves_the_longer_one(work):
    """What the checkpoints of a killed training hold is right for the longer one, too."""
    config = {"epochs": 4, "checkpoint_every": 1}
    whole = trained(work, "whole", "other", **config)
    path = work / "a.json"
    path.write_text(json.dumps(TINY | config | {"until": 2}))
    process = Process(work, "a", **config, until=2)
    process.wait_for_a_checkpoint()
    process.process.kill()
    process.end()
    (work / "shared").mkdir()
    for step in checkpoint_files.steps_in(process.checkpoints):
        place = process.checkpoints / checkpoint_files.name_of(step)
        facts = json.loads((place / checkpoint_files.FACTS).read_bytes())
        facts["made_by"]["config"] = "one"  # it is called otherwise without a queue
        (place / checkpoint_files.FACTS).write_text(json.dumps(facts))
        place.rename(work / "shared" / place.name)
    assert trained(work, "rung", "shared", **config, until=3)[1]["epochs"] == 3
    assert trained(work, "long", "shared", **config) == whole


@pytest.mark.parametrize(("until", "said"), [(0, "from 1 to 3"), (4, "from 1 to 3"), (1.5, "whole"), (True, "whole")])
def test_a_bad_end_is_one_clear_line(work, until, said):
    with pytest.raises(Exception, match=f'"until": expected (a )?{said}'):
        resume(work, "bad", until=until)


def test_a_module_says_after_what_its_stage_only_stops_earlier():
    assert registry.prefix_key("train") == "until"
    assert registry.prefix_key("evaluate") is None
    assert registry.of_checkpoints({"stage": "train", "until": 2, "lr": 1}) == {"stage": "train", "lr": 1}
    assert registry.of_checkpoints({"stage": "evaluate", "until": 2}) == {"stage": "evaluate", "until": 2}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_told_to_stop_it_leaves_a_checkpoint_and_resume_goes_on_there(work, number):
    long = {"epochs": 150, "checkpoint_every": "1 epoch"}
    process = Process(work, "model", **long)
    process.wait_for_a_checkpoint()
    process.process.send_signal(number)
    code, told = process.end()
    assert code == 1
    step = checkpoint_files.steps_in(process.checkpoints)[0]
    assert told.splitlines()[-1] == f"error: stopped after step {step}; the same command with --resume goes on"
    assert not (work / "runs" / "model" / "repro-run.json").exists()

    code, told = Process(work, "model", **long).end()
    assert code == 2
    assert "or --resume if it was killed" in told
    again = Process(work, "model", "--resume", **long)
    code, told = again.end()
    assert (code, again.checkpoints.exists()) == (0, False), told
    assert f"going on from the checkpoint of step {step}" in again.said


def test_a_stage_that_makes_no_checkpoint_is_ended_at_once(work):
    """Nobody has promised to look."""
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    run = run_with(work / "kept")
    run.checkpoints.close()
    run.resume()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    run.checkpoints.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def run_with(folder, fingerprint="a", saved=lambda step: None):
    """A run whose checkpoints lie in this folder."""
    return Run("x", Params({}), {}, folder, checkpoints=Checkpoints(folder, fingerprint, modules.OURS, saved))


def save(folder, *steps, **facts):
    run = run_with(folder)
    for step in steps:
        run.checkpoint(step, {"weights": torch.full((2, 3), float(step))}, facts)
        run.checkpoints._wait()
    run.checkpoints.close()


def test_what_was_kept_comes_back_and_only_the_newest_are_kept(tmp_path):
    save(tmp_path, 3, 9, 12, epoch=[1, None, "x"])
    found = run_with(tmp_path).resume()
    assert (found.step, found.facts) == (12, {"epoch": [1, None, "x"]})
    assert torch.equal(found.tensors["weights"], torch.full((2, 3), 12.0))
    assert checkpoint_files.steps_in(tmp_path) == [12, 9]
    assert run_with(tmp_path / "nothing").resume() is None


def test_what_changes_after_the_call_is_not_in_it(tmp_path):
    run, weights, history = run_with(tmp_path), torch.zeros(1 << 20), [1]
    run.checkpoint(1, {"weights": weights}, {"history": history})
    weights.fill_(7)
    history.append(2)
    run.checkpoints.close()
    found = run_with(tmp_path).resume()
    assert found.facts == {"history": [1]}
    assert not found.tensors["weights"].any()


def test_a_broken_one_means_the_one_before(tmp_path, capsys):
    save(tmp_path, 1, 2)
    broken = tmp_path / checkpoint_files.name_of(2) / checkpoint_files.STATE
    broken.write_bytes(broken.read_bytes()[:-4])
    assert run_with(tmp_path).resume().step == 1
    assert "the checkpoint of step 2 can't be read" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["code", "config", "torch", "vectors"])
def test_one_that_something_else_made_is_told_and_left(tmp_path, capsys, monkeypatch, what):
    save(tmp_path, 5)
    if what == "torch":
        now = provenance.versions() | {"torch": "9.9"}
        monkeypatch.setattr(provenance, "versions", lambda: now)
    if what == "code":
        monkeypatch.setattr(provenance, "digest", lambda package: "other")
    if what == "vectors":
        monkeypatch.setattr(provenance, "hardware", lambda: {"vectors": "other"})
    assert run_with(tmp_path, "b" if what == "config" else "a").resume() is None
    told = capsys.readouterr().out
    assert "the checkpoint of step 5 is of no use" in told
    assert what in told
    assert "starting from the beginning" in told


def test_a_changed_line_of_code_changes_its_digest(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_stage.py").write_text("def stage(run): pass\n")
    before = provenance.digest("some_stage")
    assert before != provenance.digest(modules.OURS)
    (tmp_path / "other.py").write_text("")  # beside a module, not of it
    assert provenance.digest("some_stage") == before
    (tmp_path / "some_stage.py").write_text("import other\n\ndef stage(run): pass\n")
    with_other = provenance.digest("some_stage")
    assert with_other != before
    (tmp_path / "other.py").write_text("CONSTANT = 1\n")
    assert provenance.digest("some_stage") != with_other


def test_one_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "file").touch()
    run = run_with(tmp_path / "file" / "below")
    run.checkpoint(1, {"weights": torch.zeros(1)})
    run.checkpoints.close()
    assert "no checkpoint of step 1" in capsys.readouterr().out


def test_when_they_are_due(tmp_path):
    found = Checkpoints(tmp_path, "a", modules.OURS)
    assert [step for step in range(1, 8) if found.due(step, 3)] == [3, 6]
    assert not found.due(1)
    found._next = 0.0
    assert found.due(1)
    found.save(1, {"weights": torch.zeros(1)}, {}, CurveRecorder())
    found._wait()
    assert not found.due(2)
    found.stopping = True
    assert found.due(2, 5)
    with pytest.raises(Stopped, match="stopped after step 2"):
        found.save(2, {"weights": torch.zeros(1)}, {}, CurveRecorder())
    assert checkpoint_files.steps_in(tmp_path) == [2, 1]


def test_one_that_is_dear_is_made_seldom(tmp_path, monkeypatch):
    """Whatever one costs: a share of the time, and not a fixed cadence."""
    found, now = Checkpoints(tmp_path, "a", modules.OURS), [1000.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])

    def slowly(*arguments):
        now[0] += 20.0
        return True

    monkeypatch.setattr(checkpoint_files, "write", slowly)
    found._next = now[0]
    found.save(1, {}, {}, CurveRecorder())
    found._wait()
    assert found._next == now[0] + 20.0 * checkpoints.SHARE


def resume(work, name, **config):
    path = work / f"{name}.json"
    path.write_text(json.dumps(TINY | config))
    return run_alone(path, Options(root=work / "runs", resume=True))


def test_resume_of_what_was_never_begun_begins_and_never_touches_what_is_finished_or_another_config(work):
    folder = resume(work, "model")
    before = files_of(folder)
    with pytest.raises(ConfigError, match="is finished; there is nothing to resume"):
        resume(work, "model")
    (folder / "repro-run.json").unlink()
    with pytest.raises(ConfigError, match="holds a run of another config"):
        resume(work, "model", epochs=4)
    assert files_of(folder) == before


@pytest.mark.parametrize("value", [0, -1, "2 weeks", "epochs", True, 1.5, [1]])
def test_a_bad_cadence_is_one_clear_line(work, value):
    with pytest.raises(Exception, match='"checkpoint_every": expected a number of steps, or "2 epochs", got'):
        resume(work, "bad", checkpoint_every=value)

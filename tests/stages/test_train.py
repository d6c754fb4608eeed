"""stage train: it learns, leaves the same bytes anywhere, and says what is wrong in one line."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.stages.errors import ConfigError, StageError
from repro.stages.images import model_file
from repro.stages.own_files import MANIFEST
from repro.stages.source import registry
from repro.stages.training import optimizer, options
from tests.stages.patterns import dataset, model, write_patterns
from tests.stages.pictures import files_of, run_stage

NAME = str.maketrans(".-", "__")  # a number in the name of a config


def rows(folder):
    return list(csv.DictReader((folder / "losses.csv").read_text().splitlines()))


def test_it_learns(work):
    found = rows(work / "runs" / "model")
    assert [row["epoch"] for row in found] == list("123456")
    assert float(found[-1]["train_loss"]) < float(found[0]["train_loss"]) / 2
    assert float(found[-1]["validation_accuracy"]) > 0.9
    assert (work / "runs" / "model" / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arch", ["mlp", "resnet"])
def test_every_arch_learns(work, arch):
    folder = model(work, arch, arch=arch, blocks=1) if arch == "resnet" else model(work, arch, arch=arch)
    assert float(rows(folder)[-1]["validation_accuracy"]) > 0.9


def test_every_optimizer_and_schedule_learns(work):
    for number, (name, schedule) in enumerate(zip(options.OPTIMIZERS, options.SCHEDULES, strict=True)):
        lr = 0.05 if name == "sgd" else 3e-3
        folder = model(work, f"variant{number}", optimizer=name, schedule=schedule, lr=lr, weight_decay=1e-4)
        assert float(rows(folder)[-1]["train_loss"]) < float(rows(folder)[0]["train_loss"])


def test_the_same_config_gives_the_same_bytes_in_another_folder_process_and_with_other_plot_defaults(work, tmp_path):
    write_patterns(tmp_path / "images")
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsavefig.facecolor: red\n")
    call = (
        "from tests.stages.patterns import *; import sys, pathlib as p; w = p.Path(sys.argv[1]); dataset(w); model(w)"
    )
    environment = os.environ | {
        "REPRO_DATA": str(tmp_path),
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(Path.cwd()),
    }
    subprocess.run([sys.executable, "-c", call, str(tmp_path)], env=environment, check=True, capture_output=True)
    assert files_of(tmp_path / "runs" / "model") == files_of(work / "runs" / "model")


def test_another_seed_gives_another_model(work):
    folder = model(work, "seeded", seed=1)
    assert files_of(folder)[model_file.MODEL] != files_of(work / "runs" / "model")[model_file.MODEL]


def test_the_manifest_keeps_the_last_epoch_and_the_defaults(work):
    text = (work / "runs" / "model" / MANIFEST).read_text()
    assert f'"validation_accuracy": {rows(work / "runs" / "model")[-1]["validation_accuracy"]}' in text
    assert '"schedule": {' in text


def test_without_validation_images_its_columns_stay_empty(work):
    dataset(work, "whole", validation=0.0)
    found = rows(model(work, "unchecked", source="whole", epochs=1))
    assert found[0]["train_loss"]
    assert found[0]["validation_loss"] == found[0]["validation_accuracy"] == ""


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(work):
    with pytest.raises(StageError, match=r'the loss is (nan|inf) in epoch \d+, step \d+; try a smaller "lr"'):
        model(work, "wild", arch="mlp", optimizer="sgd", lr=1e30)
    assert not (work / "runs" / "wild" / model_file.MODEL).exists()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("arch", "vgg", "there are: baseline, mlp, resnet"),
        ("optimizer", "adamm", "there are: adam, adamw, sgd"),
        ("schedule", "linear", "there are: constant, cosine, step"),
        ("epochs", 0, '"epochs": expected 1 or more, got: 0'),
        ("lr", -1.0, '"lr": expected more than 0, got: -1.0'),
        ("label_smoothing", 1.0, "from 0 to below 1"),
        ("lr_every", 0.0, '"lr_every": expected more than 0'),
        ("precision", "fp16", "there are: fp32, bf16"),
        ("accumulate", 0, '"accumulate": expected 1 or more, got: 0'),
        ("clip", -1.0, '"clip": expected 0 or more'),
        ("ema", 1.0, '"ema": expected from 0 to below 1'),
        ("warmup", -1, '"warmup": expected 0 or more'),
        ("warmup", 30, r'"warmup": expected fewer than the 30 steps of the training, got: 30'),
    ],
)
def test_a_bad_option_is_one_clear_line(work, key, value, says):
    with pytest.raises(StageError, match=says):
        model(work, f"bad_{key}{value}".translate(NAME), **{key: value})


def test_a_mistyped_key_is_refused_before_any_work(work):
    with pytest.raises(ConfigError, match='did you mean "epochs"'):
        run_stage(work, "typo", stage="train", source="data", epoch=3)


@pytest.mark.parametrize(
    "config",
    [
        {"precision": "bf16"},
        {"channels_last": True},
        {"accumulate": 3},
        {"clip": 0.5},
        {"ema": 0.9},
        {"warmup": 4},
        {"arch": "mlp", "channels_last": True, "precision": "bf16", "optimizer": "sgd", "lr": 0.05},
    ],
    ids="_".join,
)
def test_every_way_to_train_learns_and_gives_the_same_bytes_again(work, config):
    name = "_".join(config)
    folder = model(work, name, **config)
    assert float(rows(folder)[-1]["validation_accuracy"]) > 0.9
    assert files_of(folder) == files_of(model(work, f"{name}_again", **config))
    assert files_of(folder)[model_file.MODEL] != files_of(work / "runs" / "model")[model_file.MODEL]


@pytest.mark.parametrize(
    "key", ["precision", "channels_last", "accumulate", "clip", "ema", "warmup", "compile", "ranks"]
)
def test_a_default_that_is_said_means_what_it_means_unsaid(work, key):
    default = registry.keys("train")[key]
    folder = model(work, f"said_{key}", **{key: default})
    assert files_of(folder) == files_of(work / "runs" / "model")


def test_parts_of_a_batch_add_up_to_the_whole_batch(work):
    """But for the rounding of sums: 72 images to train on make a last batch that is smaller, and odd in threes."""
    whole, parts = (rows(model(work, f"parts{n}", accumulate=n, dropout=0.0, epochs=2, batch_size=16)) for n in (1, 3))
    for one, other in zip(whole, parts, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-4)


def test_clipping_holds_the_norm():
    weights = torch.nn.Linear(3, 1)
    weights.weight.grad, weights.bias.grad = torch.full((1, 3), 100.0), torch.zeros(1)
    steps = torch.optim.SGD(weights.parameters(), 1.0)
    before = weights.weight.detach().clone()
    optimizer.update(options.read({"clip": 0.5}), weights, steps, 1.0)
    assert float((weights.weight.detach() - before).norm()) == pytest.approx(0.5, rel=1e-3)


def test_the_average_follows_the_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    assert optimizer.average(options.read({}), model) is None
    average = optimizer.average(options.read({"ema": 0.9}), model)
    torch.nn.init.constant_(average.weight, 0.0)
    torch.nn.init.constant_(model.weight, 1.0)
    optimizer.follow(options.read({"ema": 0.9}), average, model, 0)
    assert average.weight.item() == pytest.approx(0.9)  # at first it keeps a tenth only
    optimizer.follow(options.read({"ema": 0.9}), average, model, 10_000)
    assert average.weight.item() == pytest.approx(0.91)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_compiled_it_gives_the_same_bytes_again(work):
    """In processes of their own: what was compiled once in a process is there."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++ for the CPU")
    call = "from tests.stages.patterns import *; import sys, pathlib as p; model(p.Path(sys.argv[1]), sys.argv[2], "
    call += "arch='mlp', epochs=2, batch_size=24, compile=True)"
    folders = [work / "runs" / f"compiled{letter}" for letter in "ab"]
    for folder in folders:
        subprocess.run([sys.executable, "-c", call, str(work), folder.name], check=True, capture_output=True)
    assert files_of(folders[0]) == files_of(folders[1])
    undeclared = json.loads((folders[0] / MANIFEST).read_text())["environment"].get("undeclared", {})
    assert not [place for place in undeclared.get("files written", []) if "inductor" in place]
    assert float(rows(folders[0])[-1]["train_loss"]) < float(rows(folders[0])[0]["train_loss"])


def test_rates():
    assert optimizer.rate(options.read({"lr": 1.0, "schedule": "constant"}), 99, 100) == 1.0
    assert optimizer.rate(options.read({"lr": 1.0, "schedule": "cosine"}), 0, 100) == 1.0
    assert optimizer.rate(options.read({"lr": 1.0, "schedule": "cosine"}), 50, 100) == pytest.approx(0.5)
    steps = [
        optimizer.rate(options.read({"lr": 1.0, "schedule": "step", "lr_every": 0.5}), step, 100)
        for step in (0, 49, 50, 99)
    ]
    assert steps == [1.0, 1.0, 0.1, 0.1]
    assert math.isclose(optimizer.rate(options.read({}), 0, 1), 3e-3)
    warm = {"lr": 1.0, "warmup": 4}
    assert [optimizer.rate(options.read(warm), step, 104) for step in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]
    assert optimizer.rate(options.read(warm), 54, 104) == pytest.approx(0.5)
    assert optimizer.rate(options.read(warm | {"schedule": "constant"}), 103, 104) == 1.0

"""Several ranks: the same config gives the same bytes, and they compute what one would."""

import csv
from pathlib import Path

import pytest
import torch

from repro.stages.errors import StageError
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import ranks
from repro.stages.source import registry
from tests.stages.patterns import dataset, write_patterns
from tests.stages.pictures import files_of, run_stage

ROOT = Path(__file__).parents[2]
# 23 images to train on: the last batch has two, fewer than three ranks.
SMALL = {"stage": "train", "source": "data", "arch": "baseline", "channels": 8, "epochs": 3, "batch_size": 7}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_DATA", str(folder))
        write_patterns(folder / "images", count=10)
        dataset(folder)
        yield folder


def train(work, name, **config):
    """In a process of its own, which forks its ranks."""
    return run_stage(work, name, **SMALL | config)


def losses(folder):
    return [
        float(row[key])
        for row in csv.DictReader((folder / "losses.csv").read_text().splitlines())
        for key in ("train_loss", "validation_loss")
    ]


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_same_config_gives_the_same_bytes_run_after_run(work, count):
    config = {"ranks": count, "accumulate": 2, "ema": 0.9, "clip": 1.0}
    folders = [train(work, f"ranks{count}{letter}", **config) for letter in "ab"]
    assert files_of(folders[0]) == files_of(folders[1])


def test_ranks_compute_what_one_would(work):
    """But for the rounding of sums, and for dropout, whose random numbers are each rank's own."""
    alone = losses(train(work, "alone", dropout=0.0))
    for name, config in {"two": {"ranks": 2}, "three": {"ranks": 3}, "parts": {"accumulate": 3}}.items():
        assert losses(train(work, name, dropout=0.0, **config)) == pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 32])
def test_every_image_of_a_batch_is_one_ranks(size):
    for count in (1, 2, 3, 8):
        parts = [ranks.part(run_of(rank, count), size) for rank in range(count)]
        assert [i for part in parts for i in range(size)[part]] == list(range(size))
        lengths = [len(range(size)[part]) for part in parts]
        assert max(lengths) - min(lengths) <= 1


def run_of(rank, count):
    return Run("x", Params({}), {}, Path(), rank=rank, ranks=count)


def test_one_rank_has_nothing_to_add_up():
    model, loss = torch.nn.Linear(2, 1), torch.ones(())
    assert ranks.add_up(run_of(0, 1), model, loss) is loss
    assert model.weight.grad is None


def test_the_count_is_a_function_of_the_config():
    assert ranks.count({}) == 1
    assert ranks.count({"ranks": 3}) == 3
    assert ranks.count({"gpus": 2}) == ranks.count({"gpus": 2, "ranks": 2}) == 2
    with pytest.raises(StageError, match='there is one for each of the 2 "gpus", got: 1'):
        ranks.count({"gpus": 2, "ranks": 1})


def test_only_stages_that_can_know_the_key():
    assert registry.keys("train")["ranks"] == ranks.DEFAULT
    assert registry.defaults("train")["ranks"] == [ranks.DEFAULT]
    assert "ranks" not in registry.keys("evaluate")


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_cards_give_the_same_bytes_run_after_run(work):
    folders = [train(work, f"cards{letter}", gpus=2) for letter in "ab"]
    assert files_of(folders[0]) == files_of(folders[1])

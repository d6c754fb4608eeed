"""What a stage is handed, and how it is executed."""

import math
import os
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from repro.stages.errors import StageError
from repro.stages.own_files import OWN_FILES
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import determinism
from repro.stages.running.execution import execute
from repro.stages.source import registry

ESCAPES = ["../x", "/tmp/x", "a/../../x", "a/../x", "..", *OWN_FILES, *(f"./{name}" for name in OWN_FILES)]


@pytest.fixture
def run(tmp_path):
    for folder in ("model", "data", "data2", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.txt").write_text(folder)
    (tmp_path / "model" / "file.txt").unlink()
    for name in OWN_FILES:
        (tmp_path / "model" / name).write_text("own")
    return Run("model", Params({"stage": "offered", "lr": 0.1}), {"data": tmp_path / "data"}, tmp_path / "model")


def test_a_file_is_created_once_and_can_be_read_back(run):
    with run.open("a/b.txt") as file:
        file.write("é\n")
    assert (run.out / "a" / "b.txt").read_bytes() == "é\n".encode()
    with run.open("a/b.txt", "r") as file:
        assert file.read() == "é\n"
    with run.open("a/b.txt", "rb") as file:
        assert file.read() == "é\n".encode()
    with run.open("c.bin", "xb") as file:
        file.write(b"\r\n")
    for mode in ("x", "xb"):
        with pytest.raises(FileExistsError, match="creates a file once"):
            run.open("c.bin", mode)
    assert (run.out / "c.bin").read_bytes() == b"\r\n"


@pytest.mark.parametrize("mode", ["w", "a", "r+", "x+", "wb", "ab", "w+", "rb+", "xr", "", "b", "rw"])
def test_no_other_mode_exists(run, mode):
    (run.out / "there.txt").write_text("old")
    for name in ("new.txt", "there.txt"):
        with pytest.raises(ValueError, match='"x" or "r" only'):
            run.open(name, mode)
    assert (run.out / "there.txt").read_text() == "old"
    assert not (run.out / "new.txt").exists()


@pytest.mark.parametrize("name", ESCAPES)
def test_a_stage_stays_in_its_folder_and_off_the_runs_own_files(run, name):
    before = sorted(map(str, run.out.parent.rglob("*")))
    for call in (run.path, run.open, lambda n: run.open(n, "r"), lambda n: run.link(n, run.source / "file.txt")):
        with pytest.raises(StageError, match="can't be an output"):
            call(name)
    assert sorted(map(str, run.out.parent.rglob("*"))) == before
    assert run.links == {}


def test_own_names_are_free_in_folders_below(run):
    run.path("below/repro-config.json").write_text("mine")


def test_nothing_is_written_through_a_dangling_link(run):
    (run.out / "link").symlink_to(run.out.parent / "elsewhere")
    with pytest.raises(FileExistsError):
        run.open("link")
    assert not (run.out.parent / "elsewhere").exists()


def test_a_file_of_an_input_is_passed_on_without_a_copy(run):
    run.link("a/passed.txt", run.source / "file.txt")
    assert (run.out / "a" / "passed.txt").stat().st_ino == (run.source / "file.txt").stat().st_ino
    assert run.links == {"a/passed.txt": ("data", "file.txt")}
    with pytest.raises(FileExistsError):
        run.link("a/passed.txt", run.source / "file.txt")


@pytest.mark.parametrize("path", ["data2/file.txt", "other/file.txt", "data/../other/file.txt", "data/no.txt", "data"])
def test_nothing_else_can_be_passed_on(run, path):
    with pytest.raises(StageError, match="is no file of any input"):
        run.link("passed", run.out.parent / path)
    assert not os.path.lexists(run.out / "passed")
    assert run.links == {}


def test_the_only_source(run, tmp_path):
    assert run.source == tmp_path / "data"
    for inputs, says in (({}, "none"), ({"a": tmp_path, "b": tmp_path}, "a, b")):
        with pytest.raises(StageError, match=f"exactly one, got: {says}"):
            _ = Run("x", Params({}), inputs, tmp_path).source


@pytest.fixture
def offer(run, monkeypatch):
    """Execute a function as the stage of the run."""

    def execute_as(stage):
        monkeypatch.setattr(registry, "load", lambda name: {"offered": stage}[name])
        return execute(run)

    return execute_as


def test_what_execute_gathers(run, offer):
    def stage(run):
        assert random.random() == FIRST[0]  # determinism is set up before the stage begins
        run.params.get("epochs", 2)
        run.link("passed", run.source / "file.txt")
        run.progress(1, 2, loss=0.5)
        return {"loss": 0.5, "count": 3}

    told = []
    run.report = lambda *figures: told.append(figures)
    result = offer(stage)
    assert result.metrics == {"loss": 0.5, "count": 3}
    assert told == [(1, 2, {"loss": 0.5})]
    assert result.links == {"passed": ("data", "file.txt")}
    assert result.unread == ["lr"]
    assert result.params["epochs"] == {"value": 2, "default": True}
    assert result.params["stage"] == {"value": "offered", "default": False}
    assert result.params["threads"] == {"value": 1, "default": True}
    assert {"python", "torch", "numpy", "processor", "machine", "threads", "deterministic"} <= result.environment.keys()
    assert (result.environment["threads"], result.environment["deterministic"]) == (1, True)


@pytest.mark.parametrize("returned", [None, {}])
def test_a_stage_need_not_return_metrics(offer, returned):
    assert offer(lambda run: returned).metrics == {}


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, range(3), b"x", np.zeros(2), torch.zeros(2), 1j, {1, 2}],
    ids=repr,
)
def test_a_metric_without_a_plain_meaning_is_refused_by_name(offer, run, value):
    with pytest.raises(StageError, match=r"metric 'loss': a number or a short text is kept, got a \w+: .*; write"):
        offer(lambda run: {"fine": 1, "loss": value})
    with pytest.raises(StageError, match="metric 'loss'"):
        run.progress(1, 2, loss=value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, True), (np.bool_(True), True), (np.int64(1), 1), (np.float32(0.5), 0.5), (np.array([2]), 2),
        (torch.tensor(1.5, requires_grad=True), 1.5), (torch.tensor([[3]]), 3), (Fraction(1, 4), 0.25),
        (Decimal("0.1"), 0.1), (2**63 - 1, 2**63 - 1), (2**64, float(2**64)), (10**400, math.inf), (math.inf, math.inf),
        (np.float64("-inf"), -math.inf), ("best\x1b[31m\ud800", "best\\x1b[31m\\ud800"),
        ("x" * 5000, "x" * 1000 + " ... (cut)"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_metric_may_be(offer, value, kept):
    told = []

    def stage(run):
        run.report = lambda *line: told.append(line)
        run.progress(1, 2, a=value)
        return {"a": value}

    result = offer(stage)
    assert (type(result.metrics["a"]), result.metrics["a"]) == (type(kept), kept)
    assert told == [(1, 2, {"a": kept})]


def test_not_a_number_is_a_figure_too(offer):
    assert math.isnan(offer(lambda run: {"a": None}).metrics["a"])
    assert math.isnan(offer(lambda run: {"a": torch.tensor(math.nan)}).metrics["a"])


@pytest.mark.parametrize(
    ("step", "total", "told"),
    [
        (1, None, (1, None)), (np.int64(2), 4.0, (2, 4)), (3, math.inf, (3, None)), (torch.tensor(1), 0, (1, None)),
        (7, 4, (7, 4)),
    ],
)  # fmt: skip
def test_steps_are_whole_numbers_and_a_total_need_not_be_known(run, step, total, told):
    lines = []
    run.report = lambda *line: lines.append(line[:2])
    run.progress(step, total)
    assert lines == [told]
    for odd in (1.5, "1", None, math.nan, 2**70):
        with pytest.raises(StageError, match="progress: step is a whole number"):
            run.progress(odd, 2)


def test_what_the_stage_raises_passes_through(offer):
    def stage(run):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        offer(stage)


def drawn(config):
    determinism.apply(Params(config))
    return random.random(), float(np.random.rand()), torch.rand(1).item()


FIRST = drawn({})


def test_a_seed_fixes_every_generator():
    assert drawn({}) == drawn({"seed": 0}) == FIRST
    other = drawn({"seed": 1})
    assert all(one != two for one, two in zip(FIRST, other, strict=True))
    assert other == drawn({"seed": 1})
    for seed in (-1, 2**63 - 1, -(2**63)):
        assert drawn({"seed": seed}) == drawn({"seed": seed})


def test_precision_and_threads_come_from_the_config_whatever_was_set_before():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_default_dtype(torch.float64)
    assert determinism.apply(Params({})) == {"threads": 1, "deterministic": True}
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_default_dtype() is torch.float32
    assert determinism.apply(Params({"threads": 2}))["threads"] == torch.get_num_threads() == 2
    determinism.apply(Params({}))


@pytest.mark.parametrize("threads", [0, -1])
def test_a_count_of_threads_that_makes_no_sense_is_one_line(threads):
    with pytest.raises(StageError, match='"threads": expected 1 or more'):
        determinism.apply(Params({"threads": threads}))


def test_the_device_is_a_function_of_the_config():
    assert [determinism.device(Params(c)) for c in ({}, {"gpus": 0}, {"gpus": 2})] == ["cpu", "cpu", "cuda"]


def test_the_environment_has_no_say():
    """Numbers drawn, threads of torch and of BLAS, and cuBLAS's workspace, in a process set up otherwise."""
    code = """
import os, random, numpy, torch
from repro.stages.running.determinism import apply
from repro.stages.params import Params
from threadpoolctl import threadpool_info
apply(Params({}))
drawn = random.random(), float(numpy.random.rand()), torch.rand(1).item()
pools = {pool["num_threads"] for pool in threadpool_info()}
print(repr(drawn), torch.get_num_threads(), pools, os.environ["CUBLAS_WORKSPACE_CONFIG"])
"""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    environment |= {"CUBLAS_WORKSPACE_CONFIG": ":16:8", "PYTHONHASHSEED": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{FIRST!r} 1 {{1}} :4096:8\n"


def test_a_library_that_is_loaded_after_another_run_has_no_say_either():
    """scikit-learn brings an OpenMP of its own."""
    pytest.importorskip("sklearn")
    code = """
from threadpoolctl import threadpool_info
from repro.stages.running.determinism import apply
from repro.stages.params import Params
apply(Params({}))
apply(Params({}))
before = {pool["filepath"] for pool in threadpool_info()}
import sklearn.utils._openmp_helpers
added = {pool["filepath"] for pool in threadpool_info()} - before
apply(Params({}))
print(len(added) > 0, {pool["num_threads"] for pool in threadpool_info()})
"""
    environment = os.environ | {"OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True {1}\n"


@pytest.mark.parametrize("visible", [None, ""])
def test_the_seed_gives_the_same_numbers_whether_cards_are_hidden_or_not(monkeypatch, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    determinism.apply(Params({}))
    assert torch.rand(1).item() == FIRST[2]

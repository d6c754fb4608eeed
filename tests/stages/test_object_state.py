"""What `run.save_state` keeps and `run.load_state` gives back: a training cut anywhere ends in the same bytes."""

import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from repro.stages.errors import StageError, Stopped
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running.checkpoints import Checkpoints

OPTIMISERS = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=1e-2),
    "amsgrad": lambda weights: torch.optim.AdamW(weights, lr=1e-2, amsgrad=True),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=1e-2, momentum=0.9, nesterov=True),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=1e-3, centered=True),
    "groups": lambda weights: torch.optim.AdamW(
        [{"params": list(weights)[:1], "lr": 1e-3, "weight_decay": 0.1}, {"params": list(weights)[1:]}], lr=1e-2
    ),
}
STEPS = 12


class Training:
    """A network with dropout and batch statistics, an average of it, a schedule, a scaler; and all kinds of chance."""

    def __init__(self, optimiser, seed):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 2)]
        model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        optimizer = OPTIMISERS[optimiser](model.parameters())
        self.objects = {
            "model": model,
            "optimizer": optimizer,
            "average": AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
            "schedule": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=STEPS),
            "scaler": torch.amp.GradScaler("cpu", enabled=False),
            "shuffle": torch.Generator().manual_seed(seed),
            "noise": np.random.default_rng(seed),
            "draws": random.Random(seed),
            "history": [],
            "best": {"loss": float("inf"), "at": None, 5: (1, 2)},
            "count": torch.zeros((), dtype=torch.int64),
        }

    def step(self, number):
        its = self.objects
        inputs = torch.randn(6, 3, 8, 8).to(memory_format=torch.channels_last)
        inputs = inputs[torch.randperm(6, generator=its["shuffle"])] + its["noise"].standard_normal() + random.random()
        loss = its["model"](inputs).square().mean() * float(np.random.rand()) + its["draws"].random()
        its["optimizer"].zero_grad()
        loss.backward()
        its["optimizer"].step()
        its["schedule"].step()
        its["average"].update_parameters(its["model"])
        its["history"].append((number, loss.item()))
        its["best"]["loss"] = min(its["best"]["loss"], loss.item())
        its["count"] += 1

    def bytes(self):
        its = self.objects
        tensors = [t for name in ("model", "average") for t in its[name].state_dict().values()]
        tensors += [v for kept in its["optimizer"].state.values() for v in kept.values() if torch.is_tensor(v)]
        layout = [(t.stride(), t.dtype) for t in tensors]
        rest = [its["history"], its["best"], its["count"].item(), its["schedule"].state_dict(), its["noise"].random()]
        return [t.contiguous().numpy().tobytes() for t in tensors], layout, repr(rest), torch.rand(3).tolist()


def run_in(folder):
    (folder / "out").mkdir(parents=True, exist_ok=True)
    kept = Checkpoints(folder / "kept", "fingerprint", "repro.stages.train")
    return Run("a", Params({"stage": "train"}), {}, folder / "out", checkpoints=kept)


@pytest.mark.parametrize("cut", [1, 5, STEPS - 1])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_training_that_is_cut_ends_in_the_same_bytes(tmp_path, optimiser, cut):
    whole = Training(optimiser, 1)
    for number in range(STEPS):
        whole.step(number)
    undisturbed = whole.bytes()
    first, run = Training(optimiser, 1), run_in(tmp_path)
    assert run.load_state(**first.objects) == 0
    for number in range(cut):
        first.step(number)
    run.checkpoints.stopping = True
    assert run.checkpoint_due(cut)
    with pytest.raises(Stopped):
        run.save_state(cut, **first.objects)
    run.checkpoints.close()
    other, again = Training(optimiser, 2), run_in(tmp_path)  # another seed: nothing of it may stay
    for _ in range(3):
        other.step(0)
    assert again.load_state(**other.objects) == cut
    for number in range(cut, STEPS):
        other.step(number)
    assert other.bytes() == undisturbed
    again.checkpoints.close()


def test_odd_states_come_back_as_they_were(tmp_path):
    state = {
        "array": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "scalar": np.float32(0.1),
        "empty": np.zeros((0, 2)),
        "text": np.array(["a", "bc"]),
        "nested": [{"a": (1, [None, True, b"\\0x", "ü"])}, {1, 2}],
        "big": 2**70,
        "nan": float("nan"),
        (1, "k"): OrderedDict(a=torch.tensor([1.0], dtype=torch.bfloat16)),
        "zero": torch.zeros(0, 3),
    }
    run = run_in(tmp_path)
    run.load_state(state=state)
    run.save_state(1, state=state)
    run.checkpoints.close()
    found, again = {"old": 1}, run_in(tmp_path)
    assert again.load_state(state=found) == 1
    again.checkpoints.close()
    assert found.keys() == state.keys()
    for name in ("array", "scalar", "empty", "text"):
        assert (found[name].dtype, found[name].shape) == (state[name].dtype, state[name].shape)
        assert np.array_equal(found[name], state[name])
        assert type(found[name]) is type(state[name])
    assert (found["nested"], found["big"]) == (state["nested"], state["big"])
    assert np.isnan(found["nan"])
    assert torch.equal(found[(1, "k")]["a"], state[(1, "k")]["a"])
    assert found["zero"].shape == (0, 3)


def test_what_can_not_be_kept_is_named(tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(StageError, match="save_state: count is a int; kept are objects with state_dict"):
        run.save_state(1, count=5)
    with pytest.raises(StageError, match=r"save_state: best\.model is a Linear, which a checkpoint can't hold"):
        run.save_state(1, best={"model": nn.Linear(1, 1)})
    run.load_state()
    run.save_state(1, history=[1])
    run.checkpoints.close()
    with pytest.raises(StageError, match="kept were history, asked for are model; name the same ones"):
        run_in(tmp_path).load_state(model=nn.Linear(1, 1))


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(tmp_path):
    run = run_in(tmp_path)
    run.resume()
    run.checkpoint(1, {"w": torch.zeros(1)})
    run.checkpoints.close()
    with pytest.raises(StageError, match="was not made by save_state"):
        run_in(tmp_path).load_state()


def test_on_several_ranks_it_is_refused(tmp_path):
    run = run_in(tmp_path)
    run.ranks = 2
    with pytest.raises(StageError, match="random numbers of one process"):
        run.load_state()


def test_where_no_checkpoints_are_nothing_is_kept(tmp_path):
    run = Run("a", Params({"stage": "train"}), {}, tmp_path)
    assert run.load_state(history=[]) == 0
    run.save_state(1, history=[])


def test_a_folder_of_files_as_a_library_keeps_its_own(tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "deep").mkdir(parents=True)
    contents = {"model.bin": bytes(range(256)), "deep/state.json": b"{}", "empty": b""}
    for name, data in contents.items():
        (theirs / name).write_bytes(data)
    run = run_in(tmp_path)
    assert run.load_folder(tmp_path / "again") == 0
    assert not (tmp_path / "again").exists()
    run.save_folder(7, theirs)
    run.checkpoints.close()
    again = run_in(tmp_path)
    assert again.load_folder(tmp_path / "again") == 7
    again.checkpoints.close()
    found = {p.relative_to(tmp_path / "again").as_posix(): p.read_bytes() for p in (tmp_path / "again").rglob("*.*")}
    assert found | {"empty": (tmp_path / "again/empty").read_bytes()} == contents
    with pytest.raises(StageError, match="has no files"):
        run.save_folder(8, tmp_path / "nothing")

"""The recipes for others' trainers: a run that was stopped goes on to the bytes of one that never was."""

import importlib
import sys
from pathlib import Path

import pytest

from repro.stages.errors import Stopped
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import determinism
from repro.stages.running.checkpoints import Checkpoints

EXAMPLES = Path(__file__).parents[2] / "docs/examples/trainers"


@pytest.fixture(params=["hugging_face", "lightning_module"])
def stage(request, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module(request.param).train
    sys.modules.pop(request.param)


@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_stopped_it_goes_on_to_the_same_bytes(stage, tmp_path):
    def run_in(folder, stop_at=None):
        (folder / "out").mkdir(parents=True, exist_ok=True)
        kept = Checkpoints(folder / "kept", "fingerprint", "repro.stages.train")
        run = Run("a", Params({"stage": "x", "steps": 40}), {}, folder / "out", checkpoints=kept)

        def tell(step, total, metrics):
            told.append(step)
            kept.stopping = kept.stopping or step == stop_at

        run.report = tell
        determinism.apply(run.params)
        try:
            stage(run)
        finally:
            kept.close()

    told = []
    run_in(tmp_path / "whole")
    assert told[-1] >= 39
    told.clear()
    with pytest.raises(Stopped) as stopped:
        run_in(tmp_path / "cut", stop_at=20)
    assert 20 <= stopped.value.step < 40
    told.clear()
    run_in(tmp_path / "cut")
    assert stopped.value.step <= min(told) <= stopped.value.step + 2
    assert (tmp_path / "cut/out/model.pt").read_bytes() == (tmp_path / "whole/out/model.pt").read_bytes()

"""stage export: the same logits elsewhere, and the same bytes wherever the code lies."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.stages import export
from repro.stages.errors import StageError
from repro.stages.images import model_file, networks
from repro.stages.params import Params
from repro.stages.run import Run

pytest.importorskip("onnxruntime")

CODE = Path(export.__file__).parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with an untrained model."""
    folder = tmp_path_factory.mktemp("work") / "model"
    folder.mkdir()
    torch.manual_seed(0)
    net, shape = networks.build("baseline", (8, 9, 1), 3, {"channels": 8}), (8, 9, 1)
    options = networks.resolve("baseline", {"channels": 8})
    description = {"arch": "baseline", "params": options, "shape": shape, "classes": ["a", "b", "c"]}
    model_file.save(Run("model", Params({}), {}, folder), net, description)
    return folder


def run_export(model, out, **config):
    out.mkdir()
    return export.export(Run("export", Params(config), {"model": model}, out))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "export"
    return out, run_export(model, out)


def test_both_formats_agree_with_the_model_for_any_batch(model, exported):
    import onnxruntime

    out, metrics = exported
    net, _ = model_file.load(model)
    images = torch.rand(5, 1, 8, 9)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    program = torch.export.load(io.BytesIO((out / "model.pt2").read_bytes())).module()
    for count in (1, 5):
        expected = net(images[:count]).detach()
        logits = session.run(["logits"], {"images": images[:count].numpy()})[0]
        assert torch.allclose(torch.from_numpy(logits), expected, atol=1e-5)
        assert torch.allclose(program(images[:count]), expected, atol=1e-6)
    assert metrics.keys() == {"difference_onnx", "difference_torch"}
    assert max(metrics.values()) < 1e-5


def test_the_description_goes_along(exported):
    import onnxruntime

    out, _ = exported
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    extra = {"description": ""}
    torch.export.load(io.BytesIO((out / "model.pt2").read_bytes()), extra_files=extra)
    for text in (session.get_modelmeta().custom_metadata_map["description"], extra["description"]):
        assert json.loads(text)["classes"] == ["a", "b", "c"]


def test_the_same_bytes_from_code_that_lies_elsewhere(model, exported, tmp_path):
    package = tmp_path / "elsewhere" / "repro"
    shutil.copytree(CODE, package / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CODE.parent / "__init__.py", package)
    moved = package / "stages" / "images" / "networks.py"
    moved.write_text("# A line more, so that line numbers differ too.\n" + moved.read_text())
    (tmp_path / "out").mkdir()
    call = (
        "import sys, pathlib as p; from repro.stages import export; from repro.stages.params import Params; "
        "from repro.stages.run import Run; print(export.__file__); "
        "export.export(Run('other', Params({}), {'m': p.Path(sys.argv[1])}, p.Path(sys.argv[2])))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "elsewhere"), "PYTHONHASHSEED": "5"}
    words = [sys.executable, "-c", call, str(model), str(tmp_path / "out")]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "elsewhere"))
    assert done.stderr == ""
    for name in ("model.onnx", "model.pt2"):
        assert (tmp_path / "out" / name).read_bytes() == (exported[0] / name).read_bytes(), name


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_no_file_says_where_it_was_made(exported, name):
    data = (exported[0] / name).read_bytes()
    for trace in (str(CODE.parent), str(CODE.resolve().parent), "site-packages", ".py", "stack_trace"):
        assert trace.encode() not in data, trace


@pytest.mark.parametrize("wanted", ["torch", ["torch"]])
def test_one_format_alone(model, tmp_path, wanted):
    assert run_export(model, tmp_path / "out", format=wanted).keys() == {"difference_torch"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.pt2"]


@pytest.mark.parametrize("module", export.EXTRA)
def test_a_missing_extra_is_one_clear_line(model, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StageError, match=r'pip install "repro-queue\[onnx\]"'):
        run_export(model, tmp_path / "out")
    run_export(model, tmp_path / "torch_only", format="torch")


@pytest.mark.parametrize("wanted", ["tflite", ["onnx", "tflite"], [], [1], 7])
def test_an_unknown_format_lists_the_known_ones(model, tmp_path, wanted):
    with pytest.raises(StageError, match=r'"format": .*there are: onnx, torch'):
        run_export(model, tmp_path / "out", format=wanted)


def test_a_difference_above_the_tolerance_writes_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_difference", lambda *_: 0.5)
    with pytest.raises(StageError, match=r'differs from the model by 0\.5, "tolerance" is 0\.1'):
        run_export(model, tmp_path / "out", tolerance=0.1)
    assert not list((tmp_path / "out").iterdir())

"""How like two results are, file by file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from repro.worker.audit.result_comparison import Finding as F
from repro.worker.audit.result_comparison import Level, Tolerance, compare_files, is_worse, verdict


@pytest.fixture
def judge(tmp_path):
    """Write two contents of one name, by a function of path and content; the finding."""

    def call(name, one, other, write=lambda path, text: path.write_text(text), **within):
        paths = [tmp_path / side / name for side in "ab"]
        for path, content in zip(paths, (one, other), strict=True):
            path.parent.mkdir(exist_ok=True)
            write(path, content)
        return compare_files(name, *paths, Tolerance(**within))

    return call


@pytest.mark.parametrize(
    ("other", "level", "absolute"),
    [
        ("a,loss\n1,0.50\n", Level.EQUAL, 0),
        ("a,loss\n1,0.5002\n", Level.CLOSE, 0.0002),
        ("a,loss\n1,0.6\n", Level.DIFFERENT, 0.1),
        ("a,loss\n1,nan\n", Level.DIFFERENT, np.inf),
        ("b,loss\n1,0.5\n", Level.DIFFERENT, 0),
        ("a,loss\n1,0.5\n2,0.4\n", Level.DIFFERENT, 0),
        ("a,loss\n1,half\n", Level.DIFFERENT, 0),
    ],
)
def test_csv(judge, other, level, absolute):
    found = judge("losses.csv", "a,loss\n1,0.5\n", other)
    assert found.level == level
    assert found.absolute == pytest.approx(absolute)


def test_the_largest_differences_and_where_they_are(judge):
    found = judge("x.csv", "1.0,100.0\n", "1.0005,100.01\n")
    assert (found.level, found.absolute) == (Level.CLOSE, pytest.approx(0.01))
    assert found.relative == pytest.approx(0.0005 / 1.0005)
    assert "largest difference 0.01, relative 0.0005" in str(found)
    assert "row 1, column 1" in found.why
    assert judge("x.csv", "1.0\n", "1.0005\n", relative=1e-6).level == Level.DIFFERENT


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ({"a": 1, "b": [1.0, "x"]}, {"b": [1, "x"], "a": 1.0}, Level.EQUAL),
        ({"a": [1.0]}, {"a": [1.0000001]}, Level.CLOSE),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, Level.DIFFERENT),
        ({"a": 1}, {"a": True}, Level.DIFFERENT),
        ({"a": []}, {"a": {}}, Level.DIFFERENT),
        ({"a": "x"}, {"a": "y"}, Level.DIFFERENT),
    ],
)
def test_json(judge, one, other, level):
    assert judge("a.json", json.dumps(one), json.dumps(other, indent=1)).level == level


def test_tensors(judge):
    def write(path, tensors):
        save_file(tensors, path)

    one = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1, 2], np.int64)}
    assert judge("m.safetensors", one, one | {"w": one["w"].astype(np.float64)}, write).level == Level.EQUAL
    near = judge("m.safetensors", one, one | {"w": one["w"] * np.float32(1.0001)}, write)
    assert near.level == Level.CLOSE
    assert near.absolute == pytest.approx(5e-4, rel=1e-2)
    assert near.why == "w differs in 5 of 6 numbers"
    far = judge("m.safetensors", one, one | {"n": np.array([1, 3], np.int64)}, write)
    assert (far.level, far.absolute) == (Level.DIFFERENT, 1)
    assert judge("m.safetensors", one, one | {"w": one["w"].T.copy()}, write).level == Level.DIFFERENT
    assert "only one has w" in judge("m.safetensors", one, {"n": one["n"]}, write).why


def test_half_precision_tensors_that_numpy_lacks(judge):
    def write(path, numbers):
        save_torch({"w": torch.tensor(numbers, dtype=torch.bfloat16)}, path)

    found = judge("m.safetensors", [1.0, 2.0], [1.0, 4.0], write)
    assert (found.level, found.absolute, found.relative) == (Level.DIFFERENT, 2.0, 0.5)


def test_arrays_bytes_and_images(judge):
    def save(path, array):
        with path.open("wb") as file:
            np.save(file, array)

    assert judge("a.npy", np.array([1.0, np.nan]), np.array([1, np.nan], np.float32), save).level == Level.EQUAL
    assert judge("a.npy", np.array([1.0]), np.array([np.inf]), save).level == Level.DIFFERENT
    raw = judge("data.bin", b"\x01\x02", b"\x01\x03", lambda path, data: path.write_bytes(data))
    assert (raw.level, raw.absolute) == (Level.DIFFERENT, 1)

    def draw(path, options):
        Image.new("L", (4, 4), 7).save(path, **options)

    assert judge("a.png", {"compress_level": 0}, {"compress_level": 9}, draw).level == Level.EQUAL


@pytest.mark.parametrize("name", ["a.onnx", "a.safetensors", "a.json", "a.npy", "a.png", "a.csv"])
def test_what_can_not_be_read_is_different(judge, name):
    found = judge(name, b"\xff\xfe broken", b"\xff\xfe too", lambda path, data: path.write_bytes(data))
    assert found.level == Level.DIFFERENT
    assert found.why


def test_a_pickle_is_not_opened(judge):
    def save(path, text):
        np.save(path, np.array([text], dtype=object), allow_pickle=True)

    found = judge("a.npy", "one", "two", save)
    assert found.level == Level.DIFFERENT
    assert "Python objects" in found.why


def test_a_verdict_is_bounded_and_has_the_worst_first():
    findings = [F(f"{n:03}", Level.CLOSE) for n in range(99)] + [F("z", Level.DIFFERENT), F("y", Level.IDENTICAL)]
    run = {"finished_at": 1, "location": "s3://b/m.verify-01234567", "environment": {"processor": "p"}}
    found = verdict({"environment": {"processor": "q"}}, run, findings)
    assert (found["level"], found["outputs"], found["same_hardware"]) == ("different", 101, False)
    assert [one["path"] for one in found["worst"][:2]] == ["z", "000"]
    assert len(found["worst"]) == 20
    assert found["folder"] == "m.verify-01234567"
    assert verdict({}, {"finished_at": 1}, [])["level"] == "unknown"  # nothing was compared
    assert verdict({}, {"finished_at": 1, "metrics": {"loss": 0.5}}, [])["level"] == "identical"


def test_files_of_torch_numpy_and_json_lines_by_their_values(judge):
    def archive(path, value):
        np.savez(path, a=np.full(3, value))

    def weights(path, value):
        torch.save({"model": {"w": torch.full((3,), value, dtype=torch.bfloat16)}, "step": 5}, path)

    assert judge("a.npz", 1.0, 1.0005, archive).level == Level.CLOSE
    assert judge("a.npz", 1.0, 2.0, archive).level == Level.DIFFERENT
    assert judge("a.pt", 1.0, 2.0, weights).level == Level.DIFFERENT
    assert judge("b.pt", 1.0, 1.0, weights).level == Level.EQUAL
    assert judge("a.jsonl", '{"a": 1}\n{"b": 2}\n', '{"a": 1.0}\n{"b": 2.0}\n').level == Level.EQUAL
    hostile = judge("c.pt", b"no torch", b"file", lambda path, data: path.write_bytes(data))
    assert (hostile.level, "can't be read" in hostile.why) == (Level.DIFFERENT, True)


def test_what_could_not_be_compared_is_unknown():
    original = {"metrics": {}, "environment": {}}
    done = {"state": "verified", "finished_at": None, "environment": {}, "location": "s/a.verify-1"}
    assert verdict(original, done, [])["level"] == "unknown"
    assert verdict({"metrics": {"a": 1}}, done | {"metrics": {"a": 1}}, [])["level"] == "identical"
    lost = done | {"state": "failed", "error": {"type": "Killed", "message": "out of memory?", "machine": True}}
    assert verdict(original, lost, [])["level"] == "unknown"
    assert "a machine was at fault" in verdict(original, lost, [])["error"]
    assert (
        verdict(original, done | {"state": "failed", "error": {"type": "E", "message": "m"}}, [])["level"]
        == "different"
    )
    assert verdict(original, done | {"state": "cancelled"}, [])["level"] == "unknown"


def test_unknown_is_never_good_enough():
    assert all(is_worse(Level.UNKNOWN, True, asked) for asked in (None, "identical", "close"))

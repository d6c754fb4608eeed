"""How like two results are, file by file."""

import json
import math
from datetime import UTC, datetime

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


def test_tables_of_parquet_by_their_values(judge):
    import pyarrow
    from pyarrow import parquet

    def write(path, columns, compression="snappy"):
        parquet.write_table(pyarrow.table(columns), path, compression=compression)

    columns = {
        "loss": [0.5, None, math.nan],
        "step": [1, 2, 2**62],
        "name": ["a", "b", None],
        "tags": [[1.0, 2.0], [], None],
        "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
    }

    def level(other):
        return judge("t.parquet", columns, columns | other, write)

    def smaller(path, content):
        write(path, content, "none" if path.parent.name == "a" else "gzip")

    assert judge("t.parquet", columns, columns, smaller).level == Level.EQUAL
    assert level({"loss": [0.5002, None, math.nan]}).level == Level.CLOSE
    assert level({"tags": [[1.0, 2.0002], [], None]}).level == Level.CLOSE
    for other in (
        {"loss": [0.5, 0.5, math.nan]},
        {"step": [1, 2, 3]},
        {"name": ["a", "c", None]},
        {"tags": [[1.0], [], None]},
        {"at": [datetime(2027, 1, 1, tzinfo=UTC)] * 3},
        {"more": [1, 2, 3]},
    ):
        found = level(other)
        assert (found.level, next(iter(other)) in found.why) == (Level.DIFFERENT, True), found


def test_hdf5_by_its_datasets_and_attributes(judge):
    import h5py

    def write(path, content):
        with h5py.File(path, "w", track_order=path.parent.name == "b") as file:
            file.attrs["version"] = content.get("version", 1)
            group = file.create_group("model", track_order=True)
            group.attrs["name"] = content.get("name", "a")
            group["weights"] = np.full((2, 3), content.get("weights", 1.0), np.float32)
            group["labels"] = content.get("labels", ["cat", "dog"])
            group["scalar"] = content.get("scalar", 3)
            group["complex"] = np.array([1 + content.get("imaginary", 1.0) * 1j])
            records = np.zeros(2, [("loss", "f4"), ("label", "S3")])
            records["loss"] = content.get("field", 0.5)
            file["records"] = records
            if content.get("empty"):
                file.create_group("empty")

    def level(**other):
        return judge("m.h5", {}, other, write).level

    assert level() == Level.EQUAL
    assert level(weights=1.0005) == level(field=0.5002) == level(imaginary=1.0005) == Level.CLOSE
    others = [{"version": 2}, {"name": "b"}, {"weights": 2.0}, {"labels": ["cat", "cow"]}, {"scalar": 4}]
    others += [{"imaginary": 2.0}, {"field": 0.6}, {"empty": True}]
    assert [level(**other) for other in others] == [Level.DIFFERENT] * len(others)


def test_arrays_of_texts_and_times_and_records(judge):
    def archive(path, content):
        (np.savez if path.parent.name == "a" else np.savez_compressed)(path, **content)

    arrays = {
        "names": np.array(["a", "b"]),
        "at": np.array(["2026-01-01"], "M8[D]"),
        "of": np.array([(1, 2.0)], "i4,f8"),
    }
    assert judge("a.npz", arrays, arrays, archive).level == Level.EQUAL
    assert judge("a.npz", arrays, arrays | {"of": np.array([(1, 2.0005)], "i4,f8")}, archive).level == Level.CLOSE
    for other in ({"names": np.array(["a", "c"])}, {"at": np.array(["2026-01-02"], "M8[D]")}, {"names": np.zeros(2)}):
        found = judge("a.npz", arrays, arrays | other, archive)
        assert (found.level, next(iter(other)) in found.why) == (Level.DIFFERENT, True)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.pt", "a.parquet", "a.h5", "a.jsonl", "a.json", "a.csv", "a.png",
                                  "a.safetensors"])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\xff" * 100, b"[" * 100_000])
def test_a_broken_file_is_different_and_no_traceback(judge, name, content):
    found = judge(name, content, content + b"x", lambda path, data: path.write_bytes(data))
    assert found.level == Level.DIFFERENT


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

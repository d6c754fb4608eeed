"""stage predict: every image the masks find, in order, by the model's own measures."""

import csv
import json

import pytest
from PIL import Image

from repro.stages.errors import StageError
from repro.stages.own_files import MANIFEST
from tests.stages.patterns import pattern
from tests.stages.pictures import files_of, run_stage


def predict(work, name, **config):
    return run_stage(work, name, stage="predict", **{"source": "model", "images": "images/**/*.png"} | config)


def rows(folder):
    return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


def test_names_the_class_of_every_image_sorted_by_path(work):
    folder = predict(work, "predict")
    found = rows(folder)
    assert [row["path"] for row in found] == sorted(
        f"images/{p.parent.name}/{p.name}" for p in work.rglob("*.png") if p.is_relative_to(work / "images")
    )
    right = sum(row["class"] == row["path"].split("/")[1] for row in found)
    assert right / len(found) > 0.9
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in found)
    assert json.loads((folder / MANIFEST).read_text())["metrics"] == {"images": 96}


def test_the_same_bytes_each_time(work):
    assert files_of(predict(work, "once")) == files_of(predict(work, "again"))


def test_the_size_of_a_batch_changes_no_answer(work):
    wide, narrow = rows(predict(work, "wide", batch_size=96)), rows(predict(work, "narrow", batch_size=7))
    assert [row["class"] for row in wide] == [row["class"] for row in narrow]
    for one, other in zip(wide, narrow, strict=True):
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)


def test_images_of_another_size_and_colour_are_brought_to_the_models(work):
    (work / "big").mkdir()
    for kind in range(3):
        image = Image.fromarray(pattern(kind, 99)).resize((32, 32), Image.Resampling.NEAREST)
        image.convert("RGB").save(work / "big" / f"{kind}.png")
    assert [row["class"] for row in rows(predict(work, "big", images=["big/*.png"]))] == ["across", "dots", "down"]


def test_a_name_that_is_no_utf8_keeps_its_bytes(work):
    (work / "odd").mkdir()
    path = work / "odd" / b"\xff,.png".decode("utf-8", "surrogateescape")
    Image.fromarray(pattern(0, 1)).save(path)
    assert b'"odd/\xff,.png",across,' in (predict(work, "odd", images="odd/*") / "predictions.csv").read_bytes()


def test_no_image_no_model_and_a_bad_batch_are_clear_lines(work):
    with pytest.raises(StageError, match="no file matches"):
        predict(work, "none", images="nowhere/*.png")
    with pytest.raises(StageError, match=r"holds no model\.safetensors"):
        predict(work, "data_only", source="data")
    with pytest.raises(StageError, match='"batch_size": expected 1 or more, got: 0'):
        predict(work, "batch", batch_size=0)
    (work / "text").mkdir()
    (work / "text" / "a.png").write_text("no image")
    with pytest.raises(StageError, match=r"text/a\.png"):
        predict(work, "text", images="text/*.png")

import json

import pytest
from PIL import Image

from repro.stages.errors import ConfigError, StageError
from repro.stages.images.stream import Stream
from tests.stages.pictures import files_of, run_stage, two_classes, write

STRENGTHS = {"rotation": 10, "shift": 0.1, "flip_horizontal": 0.5, "noise": 0.05}


@pytest.fixture
def work(tmp_path, monkeypatch):
    return prepare(tmp_path / "work", monkeypatch)


def prepare(work, monkeypatch, **config):
    write(work, two_classes(12), height=5, width=7)
    monkeypatch.setenv("REPRO_DATA", str(work))
    run_stage(work, "data", stage="make_dataset", images="images/**/*.png", validation=0.3, **config)
    return work


def augment(work, name="augmentation", **config):
    return run_stage(work, name, stage="augment", source="data", **config)


def test_passes_the_dataset_on_without_copying(work):
    out = augment(work, **STRENGTHS)
    for name in ("data.bin", "metadata.json"):
        assert (out / name).samefile(work / "runs" / "data" / name)
    assert json.loads((out / "repro-run.json").read_text())["metrics"] == {"images": 12}


def test_leaves_every_strength_resolved(work):
    found = json.loads((augment(work, seed=5, **STRENGTHS) / "augmentation.json").read_text())
    assert list(found) == sorted(found)
    assert STRENGTHS.items() <= found.items()
    assert (found["scale"], found["padding"], found["seed"]) == (0.0, "zero", 5)


def test_streams_differ_by_seed_and_from_the_plain_one(work):
    folders = [augment(work, f"a{seed}", seed=seed, **STRENGTHS) for seed in (0, 1)]
    batches = [Stream(folder, 4).batch(0, 0)[0] for folder in [*folders, work / "runs" / "data"]]
    assert not batches[0].equal(batches[1])
    assert not batches[0].equal(batches[2])


def test_preview_shows_originals_first(work):
    preview = Image.open(augment(work, **STRENGTHS) / "preview.png")
    zoom = 64 // 7
    assert preview.size == (7 * zoom * 8, 5 * zoom * 6)
    first = Image.open(work / "images/a/000.png")
    assert preview.getpixel((0, 0)) == first.getpixel((0, 0))


def test_same_bytes_from_another_folder(tmp_path, monkeypatch):
    works = [prepare(tmp_path / place, monkeypatch, color="rgb") for place in ("one", "two")]
    first, second = (files_of(augment(work, **STRENGTHS)) for work in works)
    assert first == second
    assert set(first) == {"data.bin", "metadata.json", "augmentation.json", "preview.png"}


def test_names_of_the_dataset_are_the_configs(tmp_path, monkeypatch):
    work = prepare(tmp_path, monkeypatch, data="d.bin", metadata="m.json")
    assert (augment(work, metadata="m.json") / "d.bin").exists()
    with pytest.raises(StageError, match='set "metadata"'):
        augment(work, "b")


@pytest.mark.parametrize(
    ("key", "value"),
    [("rotation", 181), ("shift", -0.1), ("scale", 1), ("flip_vertical", 1.5), ("noise", 2), ("padding", "x")],
)
def test_strengths_out_of_range(work, key, value):
    with pytest.raises(StageError, match=f'"{key}": expected'):
        augment(work, **{key: value})


def test_misspelt_strength(work):
    with pytest.raises(ConfigError, match='did you mean "rotation"'):
        augment(work, rotatoin=3)

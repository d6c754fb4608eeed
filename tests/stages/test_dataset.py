import json

import numpy as np
import pytest

from repro.stages.errors import StageError
from repro.stages.images.dataset import Dataset

METADATA = {
    "shape": [4, 2, 3, 1],
    "dtype": "uint8",
    "data": "data.bin",
    "classes": ["a", "b"],
    "labels": [0, 1, 1, 0],
    "validation": [2],
    "files": ["1", "2", "3", "4"],
}


@pytest.fixture
def folder(tmp_path):
    np.arange(24, dtype=np.uint8).tofile(tmp_path / "data.bin")
    (tmp_path / "metadata.json").write_text(json.dumps(METADATA))
    return tmp_path


def test_maps_the_images(folder):
    dataset = Dataset(folder)
    assert (dataset.shape, dataset.images.shape, dataset.classes) == ((2, 3, 1), (4, 2, 3, 1), ["a", "b"])
    assert dataset.labels.dtype == np.int64
    assert dataset.images[1, 0, 0, 0] == 6
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 0


def test_splits(folder):
    dataset = Dataset(folder)
    found = {split: dataset.indices(split).tolist() for split in ("train", "validation", "all")}
    assert found == {"train": [0, 1, 3], "validation": [2], "all": [0, 1, 2, 3]}
    with pytest.raises(StageError, match='no split "test"'):
        dataset.indices("test")


def test_missing_metadata_names_the_key_to_set(tmp_path):
    with pytest.raises(StageError, match='set "metadata"'):
        Dataset(tmp_path)


def test_data_that_do_not_fit(folder):
    (folder / "data.bin").write_bytes(b"123")
    with pytest.raises(StageError, match="3 bytes, but"):
        Dataset(folder)
    (folder / "data.bin").unlink()
    with pytest.raises(StageError, match=r"data\.bin is missing"):
        Dataset(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(METADATA | {"labels": [0]})])
def test_broken_metadata(folder, text):
    (folder / "metadata.json").write_text(text)
    with pytest.raises(StageError, match=r"metadata\.json"):
        Dataset(folder)

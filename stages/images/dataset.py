"""A packed dataset: `data.bin`, the pixels as one array, and `metadata.json`, which explains them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.stages.errors import StageError

KEYS = {"shape", "dtype", "data", "classes", "labels", "validation", "files"}


class Dataset:
    """A dataset in a folder, mapped and not loaded.

    Attributes:
        images: uint8, N x H x W x C, read-only.
        labels: int64, N; an index into `classes`.
        classes: names, sorted.
        files: the name of every image's file.
        shape: (H, W, C).
        metadata: the whole metadata file.

    Raises:
        StageError: the metadata or the data are missing, broken, or don't fit each other.
    """

    def __init__(self, folder: Path, metadata: str = "metadata.json") -> None:
        self.metadata = read_metadata(folder, metadata)
        count, height, width, channels = self.metadata["shape"]
        self.shape: tuple[int, int, int] = (height, width, channels)
        self.classes: list[str] = self.metadata["classes"]
        self.files: list[str] = self.metadata["files"]
        self.labels: NDArray[np.int64] = np.array(self.metadata["labels"], dtype=np.int64)
        self.images = _map(folder / self.metadata["data"], (count, height, width, channels))
        self._validation = np.array(self.metadata["validation"], dtype=np.int64)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Sorted indices of a split: "train", "validation" or "all".

        Raises:
            StageError: another split.
        """
        everything = np.arange(len(self.labels), dtype=np.int64)
        if split == "all":
            return everything
        if split == "validation":
            return np.sort(self._validation)
        if split == "train":
            return np.setdiff1d(everything, self._validation)
        raise StageError(f'no split "{split}"; there are: train, validation, all')


def read_metadata(folder: Path, name: str) -> dict[str, Any]:
    """The metadata file of a dataset's folder.

    Raises:
        StageError: it is missing, or is none.
    """
    try:
        metadata = json.loads((folder / name).read_bytes())
    except FileNotFoundError as error:
        raise StageError(
            f'source "{folder.name}" holds no {name}: "source" must name a dataset; '
            f'if it calls its metadata otherwise, set "metadata" to that name'
        ) from error
    except ValueError as error:
        raise StageError(f'{name} of source "{folder.name}" is broken: {error}') from error
    if not isinstance(metadata, dict) or not metadata.keys() >= KEYS or metadata["dtype"] != "uint8":
        raise StageError(f'{name} of source "{folder.name}" describes no dataset of uint8 images')
    if not len(metadata["labels"]) == len(metadata["files"]) == metadata["shape"][0]:
        raise StageError(f'{name} of source "{folder.name}": labels and files do not fit its shape')
    return metadata


def _map(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    if not path.is_file():
        raise StageError(f"{path.name} is missing beside its metadata; run the dataset's config again")
    expected, size = int(np.prod(shape, dtype=np.int64)), path.stat().st_size
    if size != expected:
        raise StageError(f"{path.name}: {size} bytes, but its metadata's shape {shape} needs {expected}")
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

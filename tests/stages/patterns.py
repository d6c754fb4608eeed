"""Small real data that a network learns in a second: stripes across, stripes down, and dots."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.stages.pictures import run_stage

CLASSES = ["across", "dots", "down"]


def write_patterns(folder: Path, count: int = 32, size: int = 8, classes: tuple[str, ...] = tuple(CLASSES)) -> None:
    """`count` noisy images of each class, as folder/class/number.png."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(pattern(number, index, size)).save(folder / name / f"{index:03}.png")


def pattern(kind: int, index: int, size: int = 8) -> np.ndarray:
    across, down = np.indices((size, size)) // 2 % 2
    clean = [across, across & down, down][kind] * 150
    return (clean + np.random.default_rng((kind, index)).integers(0, 90, (size, size))).astype(np.uint8)


def dataset(work: Path, name: str = "data", **config: Any) -> Path:
    """The folder of a made dataset; REPRO_DATA must be `work`."""
    return run_stage(work, name, stage="make_dataset", **{"images": "images/**/*.png", "validation": 0.25} | config)


def model(work: Path, name: str = "model", **config: Any) -> Path:
    """The folder of a trained model of the run "data"."""
    quick = {"source": "data", "epochs": 6, "channels": 8, "batch_size": 16}
    return run_stage(work, name, stage="train", **quick | config)

"""Stage augment: a dataset passed on, with what makes a stream of augmented batches of it (R15).

Every strength is off by default and is drawn anew for every image of every batch, evenly within its range.
"""

import json
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.stages.errors import StageError
from repro.stages.images.dataset import read_metadata
from repro.stages.images.stream import AUGMENTATION, Stream
from repro.stages.images.transforms import PADDINGS, Augmentation
from repro.stages.params import Params
from repro.stages.run import Run

PREVIEW = "preview.png"
ROWS, COLUMNS = 6, 8  # of the preview; the first column holds the originals
TILE = 64  # pixels that a small image is enlarged to, at least, in whole steps
BELOW_ONE = np.nextafter(1.0, 0.0)
RANGES = {
    "rotation": (0, 180),
    "shift": (0, 1),
    "scale": (0, float(BELOW_ONE)),
    "flip_horizontal": (0, 1),
    "flip_vertical": (0, 1),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "noise": (0, 1),
}


def augment(run: Run) -> dict[str, int | float]:
    """Pass the dataset on by links, leave `augmentation.json` and a preview.

    Returns:
        The number of images.

    Raises:
        StageError: no single source, a source without a dataset, a strength out of its range.
    """
    augmentation = _augmentation(run.params)
    name = run.params.get("metadata", "metadata.json")
    metadata = read_metadata(run.source, name)
    for passed_on in (metadata["data"], name):
        run.link(passed_on, run.source / passed_on)
    with run.open(AUGMENTATION) as file:
        file.write(json.dumps(asdict(augmentation), indent=2, sort_keys=True) + "\n")
    stream = Stream(run.out, batch_size=1, metadata=name)
    with run.open(PREVIEW, "xb") as file:
        _preview(stream).save(file, format="PNG")
    run.progress(1, 1)
    return {"images": len(stream.dataset.labels)}


def _augmentation(params: Params) -> Augmentation:
    """The strengths: turns in degrees to either side, shifts and scales as fractions of the image's size,
    flips as probabilities, brightness, contrast and the noise's deviation as fractions of the full range."""
    augmentation = Augmentation(
        rotation=float(params.get("rotation", 0.0)),
        shift=float(params.get("shift", 0.0)),
        scale=float(params.get("scale", 0.0)),
        flip_horizontal=float(params.get("flip_horizontal", 0.0)),
        flip_vertical=float(params.get("flip_vertical", 0.0)),
        brightness=float(params.get("brightness", 0.0)),
        contrast=float(params.get("contrast", 0.0)),
        noise=float(params.get("noise", 0.0)),
        padding=params.get("padding", "zero"),
        seed=params.get("seed", 0),
    )
    for key, (low, high) in RANGES.items():
        if not low <= getattr(augmentation, key) <= high:
            raise StageError(f'"{key}": expected a number from {low} to {high}, got: {getattr(augmentation, key)}')
    if augmentation.padding not in PADDINGS:
        raise StageError(f'"padding": expected one of {", ".join(PADDINGS)}, got: "{augmentation.padding}"')
    return augmentation


def _preview(stream: Stream) -> Image.Image:
    """A row an image: first as it is, then as different epochs would see it."""
    dataset = stream.dataset
    chosen = np.linspace(0, len(dataset.labels) - 1, min(ROWS, len(dataset.labels))).astype(np.int64)
    pixels = dataset.images[chosen]
    epochs = [stream.augmented(chosen, epoch) for epoch in range(COLUMNS - 1)]
    columns = [pixels, *(_bytes(images.numpy()) for images in epochs)]
    grid = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    zoom = max(1, TILE // max(dataset.shape[:2]))
    grid = grid.repeat(zoom, axis=0).repeat(zoom, axis=1)
    return Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid)


def _bytes(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """float (B, C, H, W) in [0, 1] -> uint8 (B, H, W, C)."""
    return (images * 255.0).round().astype(np.uint8).transpose(0, 2, 3, 1)


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("augment")

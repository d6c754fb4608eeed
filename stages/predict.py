"""stage predict: a model and images -> what the model takes them for."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from repro.stages.errors import StageError
from repro.stages.images import model_file, reader
from repro.stages.images.decoding import Pixels, decode
from repro.stages.images.reader import Entry
from repro.stages.run import Metrics, Run
from repro.stages.running import determinism

ENVIRONMENT = ("AWS_*",)  # it reads S3 itself: the worker lets these through to it


def predict(run: Run) -> Metrics:
    """Name the most probable class of every image that the masks of `images` find.

    Images are made grey or RGB and scaled (bilinear) to what the model was trained on. Creates
    `predictions.csv` (path, class, probability), sorted by path, written as it is computed.

    Returns:
        The number of images.

    Raises:
        StageError: no model in the only source; a mask that matches nothing; a file that is no image.
    """
    params = run.params
    size = params.get("batch_size", 32)
    if size < 1:
        raise StageError(f'"batch_size": expected 1 or more, got: {size}')
    model, description = model_file.load(run.source)
    device = determinism.device(params)
    model.to(device)
    entries = reader.find(params["images"], run.data)
    reader.note(run, entries)
    done = 0
    with run.open("predictions.csv", errors="surrogateescape") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "class", "probability"])
        for names, pixels in _batches(entries, description["shape"], size):
            numbers, probabilities = answer(model, torch.from_numpy(pixels).to(device))
            chosen = [description["classes"][number] for number in numbers]
            table.writerows(zip(names, chosen, probabilities, strict=True))
            done += len(names)
            run.progress(done, len(entries))
    return {"images": done}


def answer(model: nn.Module, pixels: Tensor) -> tuple[list[int], list[float]]:
    """The most probable class of each image of uint8 B, H, W, C, and its probability."""
    with torch.inference_mode():
        logits = model(pixels.permute(0, 3, 1, 2).float() / 255).cpu()
    best = logits.double().softmax(1).max(1)
    return best.indices.tolist(), best.values.tolist()


def _batches(entries: Sequence[Entry], shape: Sequence[int], size: int) -> Iterator[tuple[list[str], Pixels]]:
    height, width, channels = shape
    contents = reader.read(entries)
    while batch := list(islice(contents, size)):
        pixels = [decode(content, entry.name, channels, (height, width)) for entry, content in batch]
        yield [entry.name for entry, _ in batch], np.stack(pixels)


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("predict")

"""Stage make_dataset: files by mask, packed into one array and an explanation of it (R15)."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from repro.stages.errors import StageError
from repro.stages.images import file_list, reader
from repro.stages.images.decoding import Pixels, decode
from repro.stages.images.labels import labels_of
from repro.stages.images.reader import Entry
from repro.stages.params import Params
from repro.stages.run import Run

ENVIRONMENT = ("AWS_*",)  # it reads S3 itself: the worker lets these through to it
CHANNELS = {"grey": 1, "rgb": 3}


def make_dataset(run: Run) -> dict[str, int | float]:
    """Pack the images that the masks find into `data.bin` and explain them in `metadata.json`.

    Returns:
        Numbers of images, of classes and of the images held out for validation.

    Raises:
        StageError: a key that does not fit, no or broken images, images of different sizes, labels that
            are missing, an empty split, a dataset that is not the one pinned by `expected`.
    """
    params = run.params
    data_name, metadata_name = _output_names(params)
    listing = file_list.Listing(params, run.data)
    entries = reader.find(params["images"], run.data)
    names = [entry.name for entry in entries]
    labels, label_files = labels_of(names, params, run.data)
    listing.plan([*entries, *label_files])
    reader.note(run, [*entries, *label_files])
    validation = _validation(names, params.get("validation", 0.2), params.get("seed", 0))
    shape = _pack(run, entries, data_name, listing)
    classes = sorted(set(labels))
    number = {name: index for index, name in enumerate(classes)}
    metadata = {
        "shape": [len(entries), *shape],
        "dtype": "uint8",
        "data": data_name,
        "classes": classes,
        "labels": [number[label] for label in labels],
        "validation": validation,
        "files": names,
        **listing.finish(run),
    }
    with run.open(metadata_name) as file:
        file.write(_json(metadata))
    return {"images": len(entries), "classes": len(classes), "validation": len(validation)}


def _output_names(params: Params) -> tuple[str, str]:
    names = params.get("data", "data.bin"), params.get("metadata", "metadata.json")
    if len({*names, file_list.FILES, ""}) < 4:
        raise StageError(f'"data" and "metadata" must be two names, and not {file_list.FILES}; got: {names}')
    return names


def _pack(run: Run, entries: list[Entry], data_name: str, listing: file_list.Listing) -> tuple[int, ...]:
    """Write every image's bytes, one after the other; (H, W, C), which all of them share."""
    first: tuple[str, tuple[int, ...]] = ("", ())
    with run.open(data_name, "xb") as file:
        for done, (entry, pixels) in enumerate(_decoded(run.params, entries, listing), start=1):
            first = first if first[1] else (entry.name, pixels.shape)
            if pixels.shape != first[1]:
                raise StageError(
                    f"{entry.name} is {_size(pixels.shape)}, but {first[0]} is {_size(first[1])}; "
                    f'set "height" and "width" to scale all images to one size'
                )
            file.write(pixels.data)
            if done % reader.CHUNK_FILES == 0 or done == len(entries):
                run.progress(done, len(entries))
    return first[1]


def _decoded(params: Params, entries: list[Entry], listing: file_list.Listing) -> Iterator[tuple[Entry, Pixels]]:
    color = params.get("color", "grey")
    if color not in CHANNELS:
        raise StageError(f'"color": expected "grey" or "rgb", got: "{color}"')
    size = _scaled(params.get("height", 0), params.get("width", 0))
    for entry, content in reader.read(entries):
        listing.saw(entry, content)
        yield entry, decode(content, entry.name, CHANNELS[color], size)


def _scaled(height: int, width: int) -> tuple[int, int] | None:
    if height < 0 or width < 0 or (height == 0) != (width == 0):
        raise StageError(f'"height" and "width": set both to scale the images, or neither; got {height}, {width}')
    return (height, width) if height else None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} (height x width)"


def _validation(names: list[str], fraction: float, seed: int) -> list[int]:
    """Indices of the images held out. Each is judged by its name alone, so none changes sides as others come."""
    if not 0 <= fraction < 1:
        raise StageError(f'"validation": expected a fraction from 0 to below 1, got: {fraction}')
    chosen = [i for i, name in enumerate(names) if _place(seed, name) < fraction]
    if (fraction and not chosen) or len(chosen) == len(names):
        side = "validation" if not chosen else "training"
        raise StageError(
            f'"validation": {fraction} of {len(names)} images leaves none for {side}; '
            f"set another fraction or seed, or 0 for no validation"
        )
    return chosen


def _place(seed: int, name: str) -> float:
    """A name's place in [0, 1), evenly spread."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _json(metadata: dict[str, Any]) -> str:
    """One key a line: what is small can be read at a glance."""
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in metadata.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("make_dataset")

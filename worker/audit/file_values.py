"""The values in a result file, by name: arrays, numbers, texts.

Known are safetensors, NumPy, torch's (tensors and plain values alone), CSV, JSON, JSON lines, Parquet, HDF5, images,
and `.bin` as bytes. Nothing is unpickled. What a reader raises at a broken file has no common name.
"""

import csv
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def _safetensors(path: Path) -> dict[str, Any]:
    """Tensors by name, mapped; the format is 8 bytes of length, a JSON header, the data."""
    import numpy as np

    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
    kinds |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "BF16": "<u2"}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    values = _flat(header.pop("__metadata__", {}), "metadata ")
    data = np.memmap(path, np.uint8, "r", 8 + length) if path.stat().st_size > 8 + length else np.empty(0, np.uint8)
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        # Kinds that NumPy lacks (8-bit floats) are compared as the bytes that they are.
        tensor = data[start:end].view(kinds.get(entry["dtype"], "u1"))
        if entry["dtype"] == "BF16":  # the upper half of a 32-bit float
            tensor = (tensor.astype("<u4") << 16).view("<f4")
        values[name] = tensor.reshape(entry["shape"]) if entry["dtype"] in kinds else tensor
    return values


def _numpy(path: Path) -> dict[str, Any]:
    import numpy as np

    return _columns("", np.lib.format.open_memmap(path, mode="r"))


def _archive(path: Path) -> dict[str, Any]:
    import numpy as np

    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: one for key in arrays.files for name, one in _columns(key, arrays[key]).items()}


def _columns(name: str, array: Any) -> dict[str, Any]:
    """An array, or the columns of one of records."""
    fields = getattr(getattr(array, "dtype", None), "names", None) or ()
    return {f"{name} field {field}".strip(): array[field] for field in fields} or {name: array}


def _torch(path: Path) -> dict[str, Any]:
    from repro.stages.running import weights

    return weights.values(path)


def _parquet(path: Path) -> dict[str, Any]:
    """Columns of numbers as arrays, all others cell by cell."""
    table = _needed("pyarrow.parquet").read_table(path)
    values: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if _needed("pyarrow.types").is_floating(column.type) or _needed("pyarrow.types").is_integer(column.type):
            values[f"column {name}"] = column.to_numpy()
        else:
            cells = enumerate(column.to_pylist(), 1)
            values |= {where: one for row, cell in cells for where, one in _walk(cell, f"column {name}, row {row}")}
    return values


def _hdf5(path: Path) -> dict[str, Any]:
    """Datasets, and the attributes of all that there is."""
    values: dict[str, Any] = {}

    def keep(name: str, one: Any) -> None:
        values.update(_columns(name, one[()] if hasattr(one, "shape") else "a group"))
        for key in one.attrs:
            values.update(_columns(f"{name} attribute {key}".strip(), one.attrs[key]))

    with _needed("h5py").File(path, "r") as file:
        keep("", file)
        file.visititems(keep)
    return values


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f'{module.partition(".")[0]} is not here: pip install "repro-queue[readers]"') from None


def _json_lines(path: Path) -> dict[str, Any]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(pair for n, line in enumerate(lines, 1) if line for pair in _walk(json.loads(line), f"line {n}"))


def _bytes(path: Path) -> dict[str, Any]:
    import numpy as np

    return {"": np.memmap(path, np.uint8, "r")} if path.stat().st_size else {}


def image(path: Path) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return {"pixels": np.asarray(image)}


def _csv(path: Path) -> dict[str, Any]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return {f"row {r}, column {c}": _number(cell) for r, row in enumerate(rows, 1) for c, cell in enumerate(row, 1)}


def _number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def _json(path: Path) -> dict[str, Any]:
    return _flat(json.loads(path.read_bytes()))


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Every number and text of a JSON value by the way to it; an empty list or object is a value too."""
    return dict(_walk(value, name))


def _walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    items: Sequence[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    if not items:
        yield name, value
    for key, inner in items:
        yield from _walk(inner, f"{name}/{key}")


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".safetensors": _safetensors,
    ".npy": _numpy,
    ".npz": _archive,
    ".pt": _torch,
    ".pth": _torch,
    ".parquet": _parquet,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".jsonl": _json_lines,
    ".bin": _bytes,
    ".png": image,
    ".csv": _csv,
    ".json": _json,
}

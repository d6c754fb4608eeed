"""Two results of one config, output by output: identical, equal, close or different.

Files with the same SHA-256 are identical and not read. Of the others the values are compared, as far as a reader
here knows the kind of file: safetensors, NumPy, torch's (tensors and plain values alone), CSV, JSON, JSON lines,
Parquet, HDF5, images, and `.bin` as bytes. Whatever else differs is different: an ONNX file, a log. Nothing is
unpickled. What a stage's module names in `VARYING = ("tb/*",)` is no part of its result, and not compared.
"""

import csv
import importlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repro.scheduler.runs import RunDocument, State, Verdict
from repro.stages.plain import clean
from repro.worker.store.outputs import outputs_of
from repro.worker.store.store import Store

METRICS = "(metrics)"  # what a stage returned, beside its files
FILES = 20  # the worst, in a verdict
SHADES = 2  # of 255, by which pictures may differ and be close
HARDWARE = ("machine", "processor", "vectors", "cards")


class Level(IntEnum):
    """How like two results are; the higher, the worse."""

    IDENTICAL = 0  # byte by byte
    EQUAL = 1  # other bytes, the same values
    CLOSE = 2  # the same shapes and texts, numbers within the tolerance
    DIFFERENT = 3
    UNKNOWN = 4  # nothing could be compared

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Tolerance:
    """Numbers a and b are close if |a - b| <= absolute + relative * max(|a|, |b|)."""

    relative: float = 1e-3
    absolute: float = 1e-5


@dataclass(frozen=True)
class Finding:
    """One file of both results; `absolute` and `relative` are the largest differences of its numbers."""

    path: str
    level: Level
    absolute: float = 0.0
    relative: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        size = f"largest difference {self.absolute:.3g}, relative {self.relative:.3g}" if self.absolute else ""
        return f"{self.path}: {self.level}" + "".join(f", {text}" for text in (size, self.why) if text)


def compare(store: Store, original: RunDocument, rerun: RunDocument, folder: Path, within: Tolerance) -> list[Finding]:
    """Every output of both; those that differ are pulled below `folder`.

    Raises:
        StageError: a file is not in the store as it was recorded.
    """
    sides = [{output["path"]: output for output in outputs_of(store, run)} for run in (original, rerun)]
    patterns = varying(original) | varying(rerun)
    sides = [{path: one for path, one in side.items() if not varies(path, patterns)} for side in sides]
    before, after = sides
    common = sorted(before.keys() & after.keys())
    differing = [path for path in common if before[path]["sha256"] != after[path]["sha256"]]
    for run, side, name in zip((original, rerun), sides, ("before", "after"), strict=True):
        store.pull([side[path] for path in differing], run["location"], folder / name)
    findings = [Finding(path, Level.IDENTICAL) for path in common if path not in differing]
    findings += [compare_files(path, folder / "before" / path, folder / "after" / path, within) for path in differing]
    findings += [Finding(path, Level.DIFFERENT, why="only in the original") for path in sorted(before.keys() - after)]
    findings += [Finding(path, Level.DIFFERENT, why="only in the rerun") for path in sorted(after.keys() - before)]
    metrics = [run.get("metrics") or {} for run in (original, rerun)]
    if metrics[0] != metrics[1]:
        findings.append(compare_values(METRICS, metrics[0], metrics[1], within))
    return findings


def varying(run: RunDocument) -> set[str]:
    """The patterns of outputs that are no part of a run's result."""
    return set((run.get("environment") or {}).get("varying", ()))


def varies(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def compare_files(path: str, one: Path, other: Path, within: Tolerance) -> Finding:
    """Two files whose bytes differ."""
    read = READERS.get(Path(path).suffix.lower())
    if read is None:
        return Finding(path, Level.DIFFERENT, why="other bytes, and no reader for their values")
    if read is _image:  # a curve that moved by a millionth is drawn with edges a shade off
        within = replace(within, absolute=max(within.absolute, SHADES))
    try:
        return compare_values(path, read(one), read(other), within)
    except (ValueError, OSError, KeyError, TypeError) as error:
        return Finding(path, Level.DIFFERENT, why=f"can't be read: {error}")


def compare_values(path: str, one: Mapping[str, Any], other: Mapping[str, Any], within: Tolerance) -> Finding:
    """Two sets of named values: arrays, numbers, texts."""
    if lone := sorted(one.keys() ^ other.keys()):
        return Finding(path, Level.DIFFERENT, why=f"only one has {lone[0] or 'a value'}")
    worst, absolute, relative, why = Level.EQUAL, 0.0, 0.0, ""
    for name in one:
        level, a, r, reason = _difference(one[name], other[name], within)
        if level > worst:
            worst, why = level, f"{name} {reason}".strip()
        absolute, relative = max(absolute, a), max(relative, r)
    return Finding(path, worst, absolute, relative, why)


def _difference(one: Any, other: Any, within: Tolerance) -> tuple[Level, float, float, str]:
    import numpy as np

    if not (_is_numeric(one) and _is_numeric(other)):
        if type(one) is type(other) and one == other:
            return Level.EQUAL, 0, 0, ""
        return Level.DIFFERENT, 0, 0, f"was {one!r:.60}, is {other!r:.60}"
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return Level.DIFFERENT, 0, 0, f"was of shape {list(a.shape)}, is of {list(b.shape)}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return (Level.EQUAL, 0, 0, "") if a.dtype == b.dtype else (Level.EQUAL, 0, 0, f"was {a.dtype}, is {b.dtype}")
    a, b = a[~same].astype(np.float64), b[~same].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gap, size = np.abs(a - b), np.maximum(np.abs(a), np.abs(b))
        near = gap <= within.absolute + within.relative * size
        gap, ratio = np.nan_to_num(gap, nan=math.inf), np.nan_to_num(gap / size, nan=math.inf)
    level = Level.CLOSE if near.all() and np.isfinite(size).all() else Level.DIFFERENT
    return level, float(gap.max()), float(ratio.max()), f"differs in {gap.size} of {same.size} numbers"


def _is_numeric(value: Any) -> bool:
    return hasattr(value, "dtype") or (isinstance(value, int | float) and not isinstance(value, bool))


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

    return {"": np.load(path, mmap_mode="r", allow_pickle=False)}


def _archive(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _torch(path: Path) -> dict[str, Any]:
    from repro.stages.running import weights

    return weights.values(path)


def _parquet(path: Path) -> dict[str, Any]:
    table = _needed("pyarrow.parquet").read_table(path)
    return {f"column {name}, row {row}": value.as_py() for name in table.column_names
            for row, value in enumerate(table.column(name), 1)}  # fmt: skip


def _hdf5(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    with _needed("h5py").File(path, "r") as file:
        file.visititems(lambda name, one: values.update({name: one[()]} if hasattr(one, "shape") else {}))
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


def _image(path: Path) -> dict[str, Any]:
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
    ".png": _image,
    ".csv": _csv,
    ".json": _json,
}


def is_worse(level: Level, same_hardware: bool, asked: str | None) -> bool:
    """Whether a level is worse than the one asked for: by default identical, or close on other hardware."""
    return level is Level.UNKNOWN or level > Level[(asked or ("identical" if same_hardware else "close")).upper()]


def verdict(original: RunDocument, rerun: RunDocument, findings: Sequence[Finding]) -> Verdict:
    """What is kept of a comparison on the original's document; the worst files first, and not too many."""
    then, now = (run.get("environment") or {} for run in (original, rerun))
    level = max((finding.level for finding in findings), default=Level.IDENTICAL)
    error, unknown = rerun.get("error"), ""
    if rerun.get("state") == State.CANCELLED:
        unknown = "the rerun was cancelled"
    elif error and error.get("machine"):
        unknown = f"a machine was at fault: {error['type']}: {error['message']}"
    elif not error and not findings and not (original.get("metrics") or rerun.get("metrics")):
        unknown = "there are no outputs and no metrics: nothing was compared"
    level = Level.UNKNOWN if unknown else Level.DIFFERENT if error else level
    worst = sorted((f for f in findings if f.level), key=lambda f: (-f.level, f.path))[:FILES]
    judged: Verdict = {
        "level": str(level),
        "ended_at": rerun["finished_at"],
        "folder": (rerun.get("location") or "").rpartition("/")[2],
        "same_hardware": all(then.get(key) == now.get(key) for key in HARDWARE) or bool(error),
        "outputs": sum(finding.path != METRICS for finding in findings),
        "worst": [vars(finding) | {"level": str(finding.level)} for finding in worst],
        "environment": now,
    }
    if error and not unknown:
        unknown = f"{error['type']}: {error['message']}"
    if unknown:
        judged["error"] = clean(unknown, 500)
    return judged

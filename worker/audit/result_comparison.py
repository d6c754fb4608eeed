"""Two results of one config, output by output: identical, equal, close or different.

Files with the same SHA-256 are identical and not read. Of the others the values are compared, as far as their kind is
known (`file_values`). Whatever else differs is different: an ONNX file, a log. What a stage's module names in
`VARYING = ("tb/*",)` is no part of its result, and not compared.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repro.scheduler.runs import RunDocument, State, Verdict
from repro.stages.plain import clean, shown
from repro.worker.audit import file_values
from repro.worker.store.outputs import outputs_of
from repro.worker.store.store import Store

METRICS = "(metrics)"  # what a stage returned, beside its files
DATA = "(data)"  # what it read outside the store
FILES = 20  # the worst, in a verdict
SHADES = 2  # of 255, by which pictures may differ and be close
NUMBERS = set("biufc")  # kinds of NumPy's arrays
HARDWARE = ("machine", "processor", "vectors", "cards")


class Level(IntEnum):
    """How like two results are; the higher, the worse."""

    IDENTICAL = 0  # byte by byte
    EQUAL = 1  # other bytes, the same values
    CLOSE = 2  # the same shapes and texts, numbers within the tolerance
    DIFFERENT = 3
    DATA_CHANGED = 4  # and so did the result: nothing is said of the code
    UNKNOWN = 5  # nothing could be compared

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @classmethod
    def called(cls, text: str) -> "Level":
        return cls[text.upper().replace(" ", "_")]


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
    return findings + changed_data(original, rerun, findings)


def changed_data(before: Mapping[str, Any], after: Mapping[str, Any], findings: Sequence[Finding]) -> list[Finding]:
    """One finding more where the results differ and so do the data that they were made of, by names and sizes.

    `before`, `after`: documents of runs, or their manifests.
    """
    then, now = ((run.get("environment") or {}).get("data") or {} for run in (before, after))
    if not then or not now or then["listing"] == now["listing"] or not any(finding.level for finding in findings):
        return []
    was, is_ = (
        f"{one['files']} files, {one['bytes']} bytes in {one.get('root', 'their places')}" for one in (then, now)
    )
    return [Finding(DATA, Level.DATA_CHANGED, why=f"read {was}, now {is_}")]


def varying(run: RunDocument) -> set[str]:
    """The patterns of outputs that are no part of a run's result."""
    return set((run.get("environment") or {}).get("varying", ()))


def varies(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def compare_files(path: str, one: Path, other: Path, within: Tolerance) -> Finding:
    """Two files whose bytes differ."""
    read = file_values.READERS.get(Path(path).suffix.lower())
    if read is None:
        return Finding(path, Level.DIFFERENT, why="other bytes, and no reader for their values")
    if read is file_values.image:  # a curve that moved by a millionth is drawn with edges a shade off
        within = replace(within, absolute=max(within.absolute, SHADES))
    try:
        return compare_values(path, read(one), read(other), within)
    except Exception as error:  # what libraries raise at a broken file has no common name
        return Finding(path, Level.DIFFERENT, why=f"can't be read: {shown(error)}")


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
    if not {a.dtype.kind, b.dtype.kind} <= NUMBERS:  # texts, times, objects
        is_equal = a.dtype.kind == b.dtype.kind and np.array_equal(a, b)
        return Level.EQUAL if is_equal else Level.DIFFERENT, 0, 0, "" if is_equal else f"was {a!r:.60}, is {b!r:.60}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return Level.EQUAL, 0, 0, "" if a.dtype == b.dtype else f"was {a.dtype}, is {b.dtype}"
    exact = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    a, b = a[~same].astype(exact), b[~same].astype(exact)
    with np.errstate(invalid="ignore", over="ignore"):
        gap, size = np.abs(a - b), np.maximum(np.abs(a), np.abs(b))
        near = gap <= within.absolute + within.relative * size
        gap, ratio = np.nan_to_num(gap, nan=math.inf), np.nan_to_num(gap / size, nan=math.inf)
    level = Level.CLOSE if near.all() and np.isfinite(size).all() else Level.DIFFERENT
    return level, float(gap.max()), float(ratio.max()), f"differs in {gap.size} of {same.size} numbers"


def _is_numeric(value: Any) -> bool:
    return hasattr(value, "dtype") or (isinstance(value, int | float) and not isinstance(value, bool))


def is_worse(level: Level, same_hardware: bool, asked: str | None) -> bool:
    """Whether a level is worse than the one asked for: by default identical, or close on other hardware."""
    return level is Level.UNKNOWN or level > Level.called(asked or ("identical" if same_hardware else "close"))


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
        "outputs": sum(finding.path not in (METRICS, DATA) for finding in findings),
        "worst": [vars(finding) | {"level": str(finding.level)} for finding in worst],
        "environment": now,
    }
    if error and not unknown:
        unknown = f"{error['type']}: {error['message']}"
    if unknown:
        judged["error"] = clean(unknown, 500)
    return judged

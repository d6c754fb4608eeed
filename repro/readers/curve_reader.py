"""The curves of what a user names: from folders, from the store, and live from the queue."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repro.readers.kept_curves import KeptCurves
from repro.readers.named_configs import Reader, defaults_of_code, is_local, of_file
from repro.scheduler.configs.comparison import Subject, compare
from repro.scheduler.configs.spelling import spell
from repro.scheduler.live import curves
from repro.scheduler.live.curves import FILE, Curve
from repro.scheduler.runs import FINAL, RunDocument, State
from repro.stages.errors import ReproError, StageError, Unreachable
from repro.stages.own_files import CURVES

if TYPE_CHECKING:
    from repro.worker.store.store import Store

LONGEST = 60  # characters of a label
AT_ONCE = 16  # runs: each waits for MongoDB or for the store, hardly for this machine
FIELDS = {"config": 1, "params": 1, "metrics": 1, "sources": 1, "state": 1, "lease": 1, "location": 1, "history": 1}


@dataclass(frozen=True)
class CurveSet:
    """Curves, the label of every run that has one, and what is to be said of those that have none."""

    curves: list[Curve]
    labels: dict[str, str]
    missing: list[str]
    live: bool  # at least one of the runs has not ended
    unfinished: Sequence[str] = ()
    figures: Sequence[str] = ()  # all that there are, also those that nobody has asked for


class Finder:
    """Finds the curves of words; a file stands for the run of its name."""

    def __init__(self, reader: Reader, store: "Callable[[], Store]", kept: KeptCurves | None = None) -> None:
        self.reader, self._store, self._cache = reader, store, kept

    def find(self, words: Sequence[str], figures: Sequence[str] = ()) -> CurveSet:
        """The curves of the figures named, else of the losses.

        Raises:
            ReproError: a word names nothing, or a file of curves is no table of numbers.
            StageError: not one of the runs has a curve.
        """
        found = self.gather(words, figures)
        if not found.curves:
            raise StageError("; ".join(found.missing))
        return found

    def gather(self, words: Sequence[str], figures: Sequence[str] = (), forgiving: bool = False) -> CurveSet:
        """As `find`, also if there is none.

        Args:
            forgiving: a run whose file of curves is broken has none.

        Raises:
            ReproError: a word names nothing.
        """
        folders = [word for word in words if is_local(word) and Path(word).is_dir()]
        others = [word if not is_local(word) else of_file(Path(word)).name for word in words if word not in folders]
        subjects = self.reader.subjects(folders + others)
        runs = self._runs([s.name for s in subjects[len(folders) :]])
        by_name = {s.name: _of_folder(s.name, Path(f)) for s, f in zip(subjects, folders, strict=False)}
        of_runs = self._of_runs(runs)
        broken = {name: found for name, found in of_runs.items() if isinstance(found, ReproError)}
        if broken and not forgiving:
            raise next(iter(broken.values()))
        by_name |= {name: [] if isinstance(found, ReproError) else found for name, found in of_runs.items()}
        chosen = {name: curves.chosen(of_run, figures) for name, of_run in by_name.items()}
        missing = [
            str(broken.get(name) or _no_curve(name, runs.get(name), by_name[name]))
            for name, of_run in chosen.items()
            if not of_run
        ]
        shown = [subject for subject in subjects if chosen[subject.name]]
        unfinished = [name for name, run in runs.items() if run["state"] not in FINAL]
        return CurveSet(
            curves=[curve for subject in shown for curve in chosen[subject.name]],
            labels={name: label + _lost(chosen[name]) for name, label in labels(shown).items()},
            missing=missing,
            live=bool(unfinished),
            unfinished=unfinished,
            figures=list(dict.fromkeys(curve.figure for of_run in by_name.values() for curve in of_run)),
        )

    def _runs(self, names: Sequence[str]) -> dict[str, RunDocument]:
        from repro.scheduler.queue import lookup

        return {run["_id"]: run for run in lookup.runs(self.reader.db, names, FIELDS)} if names else {}

    def _of_runs(self, runs: Mapping[str, RunDocument]) -> dict[str, list[Curve] | ReproError]:
        """The curves of each, or what is wrong with its file."""

        def read(run: RunDocument) -> list[Curve] | ReproError:
            try:
                return self._of_run(run)
            except Unreachable:
                raise
            except ReproError as error:
                return error

        if len(runs) < 2:
            return {name: read(run) for name, run in runs.items()}
        with ThreadPoolExecutor(AT_ONCE) as threads:  # each in this one's context: it may be in a hurry
            futures = {name: threads.submit(copy_context().run, read, run) for name, run in runs.items()}
        return {name: future.result() for name, future in futures.items()}

    def _of_run(self, run: RunDocument) -> list[Curve]:
        """From the folder of a run that is done; else what the last attempt has told."""
        from repro.scheduler.live import points

        if run["state"] == State.DONE and (found := self._of_result(run["_id"], run["location"])):
            return found
        tokens = [entry["token"] for entry in run["history"] if entry["to"] == State.RUNNING]
        told = points.points(self.reader.db, tokens[-1]) if tokens else []
        if found := curves.from_points(run["_id"], told, _epochs(run)):
            return found
        if tokens and run["state"] in FINAL:  # what was told live is kept for a week, and what failed has a folder, too
            return self._kept(run["_id"], self._store().location(run["_id"], tokens[-1]), (CURVES,))
        return []

    def _of_result(self, name: str, location: str) -> list[Curve]:
        def read() -> list[Curve]:
            return self._kept(name, location, (FILE, CURVES))

        return self._cache.get((name, location), read) if self._cache else read()

    def _kept(self, name: str, location: str, files: Sequence[str]) -> list[Curve]:
        """From the first of these files that lies in a folder of the store."""
        for file in files:
            try:
                return curves.from_csv(name, self._store().read(location, file), file)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unreachable(f"{location}/{file} can't be read: {error.strerror}") from error
        return []


def labels(subjects: Sequence[Subject]) -> dict[str, str]:
    """Name -> the name and the parameters in which it differs from the others."""
    rows = compare(subjects, drop=["source"]).rows
    differences = {row.name: "  ".join(f"{key}={spell(cell.value)}" for key, cell in row.cells.items()) for row in rows}
    return {name: f"{name}  {text}".strip() for name, text in ((n, _cut(t)) for n, t in differences.items())}


def _of_folder(name: str, folder: Path) -> list[Curve]:
    file = next((file for file in (FILE, CURVES) if (folder / file).exists()), None)
    return curves.from_csv(name, (folder / file).read_bytes(), file) if file else []


def _lost(of_run: Sequence[Curve]) -> str:
    """Said of a run whose figures did not stay finite: a line that ends looks like one that is only shorter."""
    lost = [(curve.lost_at, curve.unit) for curve in of_run if curve.lost_at is not None]
    return f"  (not finite from {min(lost)[1]} {min(lost)[0]:g} on)" if lost else ""


def _epochs(run: RunDocument) -> float | None:
    epochs = run["config"].get("epochs", defaults_of_code(run["config"]).get("epochs"))
    return epochs if isinstance(epochs, int | float) else None


def _no_curve(name: str, run: RunDocument | None, had: Sequence[Curve]) -> str:
    if had:
        return f"{name} has no such figure; there are: {', '.join(curve.figure for curve in had)}"
    return f"{name} is {run['state']} and has no curve" if run else f"{name} has neither {FILE} nor {CURVES}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

"""What a stage is handed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from repro.stages import files, object_state
from repro.stages.curve import CurveRecorder
from repro.stages.data_files import DataFiles
from repro.stages.errors import StageError
from repro.stages.own_files import CHECKPOINTS, OWN_FILES
from repro.stages.params import Params
from repro.stages.plain import clean, number, shown
from repro.stages.undeclared import Undeclared

if TYPE_CHECKING:
    from torch import Tensor

    from repro.stages.running.checkpoint_files import Checkpoint
    from repro.stages.running.checkpoints import Checkpoints

Metrics = dict[str, int | float | bool | str]
Report = Callable[[int, int | None, Metrics], None]
T = TypeVar("T")
LONGEST_NAME, LONGEST_TEXT, MOST_METRICS = 200, 1000, 1000  # characters, characters, figures told at once


@dataclass
class Run:
    """One run as its stage sees it. No URL of a queue or a store is in here.

    Attributes:
        name: of the config, for titles; results must not depend on it.
        params: the config; every read is recorded.
        inputs: source name -> folder with that source's outputs, to be read only.
        out: the run's own folder; files are created in it, never replaced.
        data: fsspec URL or folder against which relative masks are resolved.
        hermetic: whether a read of what is not declared is an error; else it is recorded.
        checkpoints: where its checkpoints are kept; None where there are none.
        curve, curve_file: what `progress` was told, and where it is kept when the stage ends.
        data_files, undeclared: what it has read of the data, and what it did that nothing declares; noted as it does.
        rank, ranks: which of how many equal processes this is (`repro.stages.running.ranks`); rank 0 alone writes.
    """

    name: str
    params: Params
    inputs: Mapping[str, Path]
    out: Path
    data: str = ""
    hermetic: bool = False
    report: Report = lambda step, total, metrics: None
    links: dict[str, tuple[str, str]] = field(default_factory=dict)
    checkpoints: "Checkpoints | None" = None
    rank: int = 0
    ranks: int = 1
    curve: CurveRecorder = field(default_factory=CurveRecorder)
    curve_file: Path | None = None
    data_files: DataFiles = field(default_factory=DataFiles)
    undeclared: Undeclared = field(default_factory=Undeclared)

    @property
    def source(self) -> Path:
        """The folder of the only source.

        Raises:
            StageError: there is none, or more than one.
        """
        if len(self.inputs) != 1:
            raise StageError(f'"source": this stage takes exactly one, got: {", ".join(self.inputs) or "none"}')
        return next(iter(self.inputs.values()))

    def options(self, kind: type[T]) -> T:
        """The config as a dataclass of the stage's own (`Params.options`)."""
        return self.params.options(kind)

    def path(self, name: str) -> Path:
        """A new file's path, for libraries that open by name themselves; folders on the way are made.

        Raises:
            StageError: the name leaves the run's folder or belongs to the run itself; or this is not rank 0.
            FileExistsError: the file is there already (R4).
        """
        path = self._inside(name)
        if self.rank:
            raise StageError(f"{name!r}: rank {self.rank} creates no outputs; rank 0 does")
        if path.exists() or path.is_symlink():
            raise FileExistsError(
                f"{name}: exists already, and this creates a file once; take another name, or write it again by "
                f"open(run.out / {name!r}, ...)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def open(self, name: str, mode: str = "x", **options: Any) -> IO[Any]:
        """Create a result file ("x", "xb") or read one back ("r", "rb"); no other mode exists."""
        if set(mode) - set("xrbt") or len(set(mode) & set("xr")) != 1:
            raise ValueError(f'open({name!r}, {mode!r}): a result file is opened with "x" or "r" only')
        if "b" not in mode:
            options = {"encoding": "utf-8", "newline": ""} | options
        return (self.path(name) if "x" in mode else self._inside(name)).open(mode, **options)

    def link(self, name: str, existing: Path) -> None:
        """Pass a file of an input on as this run's own output, without copying it.

        Raises:
            StageError: there is no such file in any of the inputs.
        """
        for source, folder in self.inputs.items():
            if existing.is_relative_to(folder) and ".." not in existing.parts and existing.is_file():
                path = self.path(name)
                files.pass_on(existing.resolve(), path)
                self.links[path.relative_to(self.out).as_posix()] = (source, existing.relative_to(folder).as_posix())
                return
        raise StageError(f"link {name!r}: {existing.name} is no file of any input")

    def progress(self, step: int, total: int | None = None, **metrics: float) -> None:
        """Say how far the run is; cheap enough to be called at every step.

        The figures are kept beside the result, for ever (`repro.stages.curve`).

        Args:
            step: how many steps are done.
            total: of how many; None, or what is not finite, where nobody knows.
            metrics: numbers of Python, NumPy or torch, finite or not, and short texts.

        Raises:
            StageError: the step is no whole number, or a metric is nothing of these; it names it.
        """
        self.tell(step, total, metrics)

    def tell(self, step: int, total: int | None, metrics: Mapping[str, Any]) -> None:
        """`progress` of figures with any names."""
        done, of = _whole("step", step), None if _is_unknown(total) else _whole("total", total)
        figures = plain_metrics(metrics)
        self.curve.add(done, figures)
        self.report(done, of, figures)

    def resume(self) -> "Checkpoint | None":
        """The newest checkpoint of an earlier attempt; None means to begin from the beginning.

        Who asks promises to look at `checkpoint_due` after every step: SIGTERM does not end it before the next one.
        """
        if self.checkpoints is None:
            return None
        if self.rank:
            return self.checkpoints.newest(self.curve, log=lambda line: None)
        self.checkpoints.listen()
        return self.checkpoints.newest(self.curve)

    def checkpoint_due(self, step: int, every: int = 0) -> bool:
        """Whether to call `checkpoint` after so many steps: every `every` steps, or with 0 so seldom that it costs
        little; and when the run is to stop."""
        return self.checkpoints is not None and self.rank == 0 and self.checkpoints.due(step, every)

    def checkpoint(
        self, step: int, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any] | None = None, last: bool = False
    ) -> None:
        """Keep all that the stage needs to go on after so many steps: tensors, and what JSON can hold.

        Copies the tensors and returns; they are written meanwhile. Results must not depend on when it is called.

        Args:
            last: the stage ends here, and a longer run may go on from it: it is written even if one is being written.

        Raises:
            Stopped: the run was told to stop; let it pass.
        """
        if self.checkpoints is not None and self.rank == 0:
            self.checkpoints.save(step, tensors, facts or {}, self.curve, last)

    def save_state(self, step: int, /, **objects: Any) -> None:
        """`checkpoint` of the state of objects, each under a name: models, optimisers, schedulers, scalers, averages
        (all that has `state_dict` and `load_state_dict`), random generators, tensors, lists, dictionaries. The random
        numbers of Python, NumPy and torch are always kept.

        Raises:
            StageError: the state of one is not known, or can't be kept; or there are several ranks, each with random
                numbers of its own.
            Stopped: the run was told to stop; let it pass.
        """
        self._refuse_ranks()
        if self.checkpoints is not None:
            tensors, facts = object_state.taken(objects)
            self.checkpoint(step, tensors, facts)

    def load_state(self, **objects: Any) -> int:
        """Let objects be as they were at the newest checkpoint that `save_state` made of them, and `resume`.

        Returns:
            How many steps were done then; 0 means to begin from the beginning, with the objects as they are.

        Raises:
            StageError: other names were kept than these.
        """
        self._refuse_ranks()
        kept = self.resume()
        if kept is None:
            return 0
        object_state.give_back(objects, kept.tensors, kept.facts)
        return kept.step

    def save_folder(self, step: int, folder: str | Path) -> None:
        """`checkpoint` of the files of a folder, as a library keeps its own checkpoints (`docs/training.md`).

        Raises:
            StageError: there are no files.
            Stopped: the run was told to stop; let it pass.
        """
        if self.checkpoints is not None and self.rank == 0:
            self.checkpoint(step, object_state.files_of(Path(folder)))

    def load_folder(self, folder: str | Path) -> int:
        """Lay the files of the newest checkpoint that `save_folder` made into a folder, and `resume`.

        Returns:
            How many steps were done then; 0 means that there is none, and nothing is written.
        """
        kept = self.resume()
        if kept is None:
            return 0
        object_state.lay_files(Path(folder), kept.tensors)
        return kept.step

    def _refuse_ranks(self) -> None:
        if self.ranks > 1:
            raise StageError(
                "save_state and load_state know the random numbers of one process alone; on several ranks use "
                "run.checkpoint and run.resume, with random numbers that follow from the step"
            )

    def _inside(self, name: str) -> Path:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or path.as_posix() in OWN_FILES or path.parts[:1] == (CHECKPOINTS,):
            raise StageError(
                f"{name!r} can't be an output: outputs lie in the run's folder, beside its own {OWN_FILES}"
            )
        return self.out / path


def plain_metrics(metrics: Mapping[Any, Any]) -> Metrics:
    """Figures as they are kept and shown: plain numbers, finite or not, and short texts; None becomes NaN.

    Raises:
        StageError: one is nothing of these, or there are too many; it names it.
    """
    if len(metrics) > MOST_METRICS:
        raise StageError(f"{len(metrics)} metrics at once: at most {MOST_METRICS} are kept; write more into a file")
    return {_metric_name(name): _metric(name, value) for name, value in metrics.items()}


def _metric_name(name: object) -> str:
    if not isinstance(name, str | int | float):
        raise StageError(f"a metric is named by a text, got: {shown(name)}")
    return clean(str(name), LONGEST_NAME)


def _metric(name: object, value: object) -> int | float | bool | str:
    if value is None:
        return math.nan
    if isinstance(value, str):
        return clean(str(value), LONGEST_TEXT)
    figure = number(value)
    if figure is None and isinstance(value, int):  # past 64 bits: near enough, as a float
        try:
            figure = float(value)
        except OverflowError:
            figure = math.inf if value > 0 else -math.inf
    if figure is None:
        raise StageError(
            f"metric {shown(name)}: a number or a short text is kept, got a {type(value).__name__}: {shown(value)}; "
            "write all else into a file of the run"
        )
    return figure


def _whole(what: str, value: object) -> int:
    figure = number(value)
    if figure is None or not math.isfinite(figure) or int(figure) != figure:
        raise StageError(f"progress: {what} is a whole number within 64 bits, got: {shown(value)}")
    return int(figure)


def _is_unknown(total: object) -> bool:
    figure = number(total)
    return total is None or (figure is not None and (not math.isfinite(figure) or figure <= 0))

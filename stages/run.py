"""What a stage is handed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from repro.stages import files
from repro.stages.errors import StageError
from repro.stages.params import Params

if TYPE_CHECKING:
    from torch import Tensor

    from repro.stages.running.checkpoint_files import Checkpoint
    from repro.stages.running.checkpoints import Checkpoints

# The run's own files. No library chooses these names, so that "config.json" or "log.txt" are the stage's own outputs.
CONFIG, MANIFEST, LOG, CURVES = "repro-config.json", "repro-run.json", "repro-log.txt", "repro-curves.csv"
DIFF = "repro-code.diff"  # what was not committed; only there if something was not
OWN_FOLDER = "repro-checkpoints"  # beside them in the store, while a run may be taken up again
OWN_FILES = (CONFIG, MANIFEST, LOG, CURVES, DIFF)
FORMER = {CONFIG: "config.json", MANIFEST: "run.json", LOG: "log.txt", DIFF: "code.diff"}  # in older folders

Metrics = dict[str, int | float]
Report = Callable[[int, int, Metrics], None]


def own_name(name: str, is_there: Callable[[str], bool]) -> str:
    """What one of a run's own files is called in a folder: `name`, or in a folder of former times its former name.

    Where the config or the manifest has its name of today, a file of a former name is an output of the stage.
    """
    former = FORMER.get(name)
    if former is None or is_there(name) or is_there(CONFIG) or is_there(MANIFEST) or not is_there(former):
        return name
    return former


def own_file(folder: Path, name: str) -> Path:
    """The path of one of a run's own files in its folder, of today or of former times; it need not be there."""
    return folder / own_name(name, lambda other: (folder / other).is_file())


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
        rank, ranks: which of how many equal processes this is (`repro.stages.running.ranks`); rank 0 alone writes.
        ending: what a process has to do at its end, before anybody looks at what the stage has left.
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
    ending: Callable[[], None] = lambda: None

    @property
    def source(self) -> Path:
        """The folder of the only source.

        Raises:
            StageError: there is none, or more than one.
        """
        if len(self.inputs) != 1:
            raise StageError(f'"source": this stage takes exactly one, got: {", ".join(self.inputs) or "none"}')
        return next(iter(self.inputs.values()))

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
            raise FileExistsError(f"{name}: exists already; a result file is written once")
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
        name = Path(name).as_posix()  # "./a" is "a"
        for source, folder in self.inputs.items():
            if existing.is_relative_to(folder) and ".." not in existing.parts and existing.is_file():
                files.pass_on(existing.resolve(), self.path(name))
                self.links[name] = (source, existing.relative_to(folder).as_posix())
                return
        raise StageError(f"link {name!r}: {existing.name} is no file of any input")

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Say how far the run is; cheap enough to be called at every step."""
        self.report(step, total, metrics)

    def resume(self) -> "Checkpoint | None":
        """The newest checkpoint of an earlier attempt; None means to begin from the beginning.

        Who asks promises to look at `checkpoint_due` after every step: SIGTERM does not end it before the next one.
        """
        if self.checkpoints is None:
            return None
        if self.rank:
            return self.checkpoints.newest(log=lambda line: None)
        self.checkpoints.listen()
        return self.checkpoints.newest()

    def checkpoint_due(self, step: int, every: int = 0) -> bool:
        """Whether to call `checkpoint` after so many steps: every `every` steps, or with 0 so seldom that it costs
        little; and when the run is to stop."""
        return self.checkpoints is not None and self.rank == 0 and self.checkpoints.due(step, every)

    def checkpoint(self, step: int, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any] | None = None) -> None:
        """Keep all that the stage needs to go on after so many steps: tensors, and what JSON can hold.

        Copies the tensors and returns; they are written meanwhile. Results must not depend on when it is called.

        Raises:
            Stopped: the run was told to stop; let it pass.
        """
        if self.checkpoints is not None and self.rank == 0:
            self.checkpoints.save(step, tensors, facts or {})

    def _inside(self, name: str) -> Path:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or path.parts[:1] == (OWN_FOLDER,) or path.as_posix() in OWN_FILES:
            raise StageError(
                f"{name!r} can't be an output: outputs lie in the run's folder, beside its own {OWN_FILES}"
            )
        return self.out / path

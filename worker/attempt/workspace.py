"""Where the files of one attempt lie: on this machine while it runs, and then in the store."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from repro.stages.own_files import CURVES, LOG
from repro.worker.live import log_bound
from repro.worker.process.child import ANSWER


@dataclass(frozen=True)
class Workspace:
    """`location`: the URL of the attempt's folder in the store; `folder`: on this machine, removed at its end."""

    location: str
    folder: Path

    @property
    def out(self) -> Path:
        """What the stage writes here becomes its outputs."""
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def request(self) -> Path:
        """What the child is asked to do, as JSON."""
        return self.folder / "request.json"

    @property
    def answer(self) -> Path:
        """What came of the run, as JSON, once its process has ended by itself."""
        return self.folder / ANSWER

    def input(self, source: str) -> Path:
        return self.folder / "inputs" / source

    def inputs(self, sources: Iterable[str]) -> dict[str, Path]:
        return {source: self.input(source) for source in sources}

    def own_files(self) -> list[str]:
        """Those of the run's own files that were written here, to be pushed; the log within its bound."""
        if self.log.exists():
            log_bound.close_hole(self.log)
        return [name for name in (LOG, CURVES) if (self.folder / name).exists()]

    def append_to_log(self, line: str) -> None:
        """The worker's own word in a run's log."""
        with self.log.open("a") as file:
            file.write(f"{line}\n")

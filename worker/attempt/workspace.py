"""Where the files of one attempt lie: on this machine while it runs, and then in the store."""

from dataclasses import dataclass
from pathlib import Path

from repro.stages.run import LOG


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

    def input(self, source: str) -> Path:
        return self.folder / "inputs" / source

    def append_to_log(self, line: str) -> None:
        """The worker's own word in a run's log."""
        with self.log.open("a") as file:
            file.write(f"{line}\n")

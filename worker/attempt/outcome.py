"""What may become of an attempt. Execution returns an outcome; `settlement.settle` writes the transition it means.

`str()` of an outcome is what a worker shows of it; `label` is its name in the metrics for Prometheus.
"""

from dataclasses import dataclass
from typing import ClassVar

from repro.scheduler.server.connection import Document
from repro.stages.plain import figures


@dataclass(frozen=True)
class Done:
    """The stage ended well, and its folder in the store is complete."""

    label: ClassVar[str] = "done"
    error: ClassVar[Document | None] = None
    location: str
    result: Document

    def __str__(self) -> str:
        return f"done  {figures(self.result['metrics'], 6)}".rstrip()


@dataclass(frozen=True)
class Failed:
    """By the run itself: the same config would fail again."""

    label: ClassVar[str] = "failed"
    error: Document

    def __str__(self) -> str:
        return f"failed: {self.error['type']}: {self.error['message']}"


@dataclass(frozen=True)
class MachineFault:
    """The machine was at fault: another attempt may end well."""

    label: ClassVar[str] = "faulted"
    error: Document

    def __str__(self) -> str:
        return f"stopped by a fault of the machine: {self.error['message']}"


@dataclass(frozen=True)
class Stopped:
    """The run was taken away or cancelled and there is nothing to write, or it is to be handed back."""

    label: ClassVar[str] = "stopped"
    error: ClassVar[Document | None] = None
    why: str
    hand_back: bool = False

    def __str__(self) -> str:
        return f"stopped: {self.why}"


Outcome = Done | Failed | MachineFault | Stopped
HANDED_BACK = Stopped("handed back", hand_back=True)

"""A claimed run while this worker has it: what is known of it, and the ways to stop it."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

from repro.scheduler.runs import RunDocument
from repro.scheduler.server.connection import Document
from repro.worker.attempt.outcome import Outcome
from repro.worker.gpus import Inventory
from repro.worker.live.curve_sampler import CurveSampler
from repro.worker.live.log_cursor import LogCursor, tail
from repro.worker.live.usage_meter import UsageMeter
from repro.worker.process.fork_client import Child
from repro.worker.slots import Slot


@dataclass
class Attempt:
    """Shared by threads: one executes it, the lease renewer reads its `news` and may call `stop`, the loop may, too."""

    run: RunDocument
    slot: Slot
    sources: dict[str, RunDocument]
    shorter: list[str] = field(default_factory=list)  # where runs lie of which this one is the continuation
    began: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)  # for its claim: the lease runs from then, or later
    stage_began: float | None = None  # when its process was started
    progress: Document | None = None
    progress_at: float = field(default_factory=time.monotonic)  # when the stage last said how far it is
    log_cursor: LogCursor = field(default_factory=LogCursor)
    curve_sampler: CurveSampler = field(default_factory=CurveSampler)
    usage_meter: UsageMeter = field(default_factory=UsageMeter)
    checkpoint: Document | None = None  # the newest one that is whole in the store
    leaving: bool = False  # told to stop at its next step, to be handed back
    stopped: Outcome | None = None
    released: int = 0  # how many runs were waiting for it
    child: Child | None = None
    _begun: int | None = None  # the step that it went on from
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return str(self.run["_id"])

    @property
    def is_rung(self) -> bool:
        """Whether a longer run may go on from where this one ends."""
        return self.run.get("rung") is not None

    @property
    def token(self) -> str:
        return str(self.run["lease"]["token"])

    def news(self) -> Document:
        """What a heartbeat tells of it."""
        fields: Document = {"cards": list(self.slot.gpus)} if self.slot.gpus else {}
        fields |= {"progress": self.progress} if self.progress else {}
        fields |= {"telemetry": usage} if (usage := self.usage_meter.now()) else {}
        fields |= {"checkpoint": self.checkpoint} if self.checkpoint else {}
        if self.log_cursor.log is not None:
            with contextlib.suppress(FileNotFoundError):  # not begun yet, or over already
                fields["log_tail"] = tail(self.log_cursor.log)
        return fields

    def record_progress(self, progress: Document) -> None:
        self._begun = progress["step"] - 1 if self._begun is None else self._begun
        self.progress, self.progress_at = progress | {"begun": self._begun}, time.monotonic()
        self.curve_sampler.notice(progress)
        self.usage_meter.record_step(progress["step"], self.progress_at)

    def record_checkpoint(self, checkpoint: Document) -> None:
        self.checkpoint = checkpoint

    def measure_usage(self, inventory: Inventory) -> None:
        """What the stage uses, while it runs."""
        if self.child is not None and (pid := self.child.pid) is not None:
            self.usage_meter.measure(inventory, self.slot.gpus, pid)

    def over_limit(self, now: float) -> Document | None:
        """The error of a run past its time limit, or without progress for too long; it would be so again."""
        limit, stall = self.run["time_limit"], self.run.get("stall_limit")
        if self.stage_began is None:  # bytes are being moved: no time of the stage's
            return None
        if limit is not None and now - self.stage_began > limit:
            return {"type": "TimeLimit", "message": f"stopped after its time limit of {limit:g} s"}
        if stall is not None and now - self.progress_at > stall:
            return {"type": "StallLimit", "message": f"stopped after {stall:g} s without progress"}
        return None

    def started(self, child: Child) -> None:
        with self._lock:
            self.child = child
            self.stage_began = self.progress_at = time.monotonic()
            if self.stopped is not None:
                child.kill()
            elif self.leaving:
                child.tell_to_stop()

    def ended(self) -> None:
        """Its process is over; what it has left is delivered, which takes none of its time."""
        with self._lock:
            self.stage_began = None

    def is_unwanted(self) -> bool:
        """Whether bytes moved for it serve nothing: it was stopped, or is to be handed back before it began."""
        return self.stopped is not None or (self.leaving and self.child is None)

    def stop(self, outcome: Outcome) -> None:
        """Kill the stage; the first reason given is the outcome."""
        with self._lock:
            self.stopped = self.stopped or outcome
            if self.child is not None:
                self.child.kill()

    def leave(self) -> None:
        """Tell the stage to leave a checkpoint at its next step, and to end; then the run is handed back."""
        with self._lock:
            self.leaving = True
            if self.child is not None:
                self.child.tell_to_stop()

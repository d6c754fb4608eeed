"""Checkpoints: what a stage needs to go on where it was killed. They are never part of its result.

They are written off the stage's thread, as `checkpoint_files` says. A checkpoint belongs to one computation, to one
state of the code and to one kind of machine: a result must not be half of one and half of another, so under any other a
stage begins from the beginning. A run that stops earlier than another (`registry.prefix_key`) is the same computation.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from repro.stages.curve import CurveRecorder
from repro.stages.errors import Stopped
from repro.stages.running import checkpoint_files
from repro.stages.running.checkpoint_files import Checkpoint
from repro.stages.source import provenance

if TYPE_CHECKING:
    from torch import Tensor

ENGINE = "repro.stages.running.execution"
GAP = 30.0  # seconds, at least, between two checkpoints whose config does not say how often
SHARE = 50  # such a checkpoint may cost one part in so many of the time that has passed since the one before


class Checkpoints:
    """The checkpoints of one attempt at a run, in a folder of its own.

    Attributes:
        stopping: whether SIGTERM (or Ctrl-C) has asked for a checkpoint at the next step, and then for the end.
    """

    def __init__(
        self, folder: Path, fingerprint: str, module: str, saved: Callable[[int], None] = lambda step: None
    ) -> None:
        """`module`: the stage's. `saved`: is told of every checkpoint that is whole, from another thread."""
        self.folder, self.fingerprint, self.module, self.saved = folder, fingerprint, module, saved
        self.stopping = False
        # Looked up now: of several ranks none must find what another has just written.
        self._steps = checkpoint_files.steps_in(folder)
        self._writer: threading.Thread | None = None
        self._next = time.monotonic() + GAP
        self._before: dict[int, Any] = {}
        self._code: str | None = None  # as it was when the stage began: on the disk it may change meanwhile

    def newest(self, curve: CurveRecorder, log: Callable[[str], None] = print) -> Checkpoint | None:
        """The newest whole one that this attempt was given; None means to begin from the beginning.

        `curve` goes on from where it was then.
        """
        self._begin()
        for step in self._steps:
            try:
                return self._load(step, curve, log)
            except Exception as error:  # whatever is wrong with it, the one before is as good
                log(f"the checkpoint of step {step} can't be read: {error}")
        return None

    def due(self, step: int, every: int = 0) -> bool:
        """Whether to make one after this step: when told to stop; every so many steps; with 0, from time to time."""
        return self.stopping or (step % every == 0 if every else time.monotonic() >= self._next)

    def save(
        self,
        step: int,
        tensors: "Mapping[str, Tensor]",
        facts: Mapping[str, Any],
        curve: CurveRecorder,
        last: bool = False,
    ) -> None:
        """Copy the tensors, and write them while the stage goes on. While one is being written no other is begun, but
        the `last`.

        Raises:
            Stopped: the stage was told to stop, and its checkpoint has been written.
        """
        began, self._next = time.monotonic(), float("inf")
        self._begin()
        if self.stopping:
            self._wait()
            self._write(step, *_copied(tensors, facts), curve.state(), began)
            raise Stopped(step)
        if last:
            self._wait()
        if self._writer is None or not self._writer.is_alive():
            content = (step, *_copied(tensors, facts), curve.state(), began)
            self._writer = threading.Thread(target=self._write, args=content, name="checkpoint", daemon=True)
            self._writer.start()

    def listen(self) -> None:
        """From now on SIGTERM and Ctrl-C ask for a checkpoint; a stage that makes none is ended by them."""
        if not self._before and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._told_to_stop)

    def close(self) -> None:
        """Wait for what is being written; signals mean again what they did."""
        self._wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _begin(self) -> None:
        if self._code is None:
            # Of the product's own code what runs any stage, and of a stage's all that it can reach.
            self._code = "-".join(provenance.digest(module) for module in (ENGINE, self.module))

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopping = True

    def _load(self, step: int, curve: CurveRecorder, log: Callable[[str], None]) -> Checkpoint | None:
        made_by = checkpoint_files.maker(self.folder, step)
        if changed := checkpoint_files.differences(made_by, self._made_by()):
            log(f"the checkpoint of step {step} is of no use, {'; '.join(changed)}: starting from the beginning")
            return None
        checkpoint = checkpoint_files.read(self.folder, step)
        if state := checkpoint_files.curve(self.folder, step):
            curve.restore(state)
        log(f"going on from the checkpoint of step {step}")
        return checkpoint

    def _write(
        self, step: int, tensors: "dict[str, Tensor]", facts: dict[str, Any], curve: dict[str, Any], began: float
    ) -> None:
        content = {"made_by": self._made_by(), "facts": facts, "curve": curve}
        try:
            if checkpoint_files.write(self.folder, step, tensors, content):
                self.saved(step)
        except Exception as error:  # a full disk, say: the run itself may go well without
            print(f"no checkpoint of step {step}: {error}")
        now = time.monotonic()
        self._next = now + max(GAP, SHARE * (now - began))

    def _wait(self) -> None:
        if self._writer is not None:
            self._writer.join()

    def _made_by(self) -> dict[str, Any]:
        """What the bytes of a result may depend on besides the config."""
        versions = {key: value for key, value in provenance.versions().items() if key in ("python", "torch", "numpy")}
        made_by = {"config": self.fingerprint, "code": self._code}
        return made_by | versions | provenance.hardware()


def _copied(tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Copies all the way down, of the tensors on the CPU in rows: the stage goes on and changes the originals."""
    import torch

    copies = {name: torch.empty(t.shape, dtype=t.dtype).copy_(t.detach()) for name, t in tensors.items()}
    return copies, json.loads(json.dumps(facts))

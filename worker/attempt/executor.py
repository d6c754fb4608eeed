"""One claimed run -> one outcome. Nothing here writes a run document: `loop.settle` does that.

The order of writes to the store is the promise: the attempt's folder, the config, then the outputs and the
log, `run.json` last. Whatever dies in between leaves a folder without `run.json`, which counts for nothing.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.scheduler import runs
from repro.scheduler.runs import RunDocument, State
from repro.scheduler.server.connection import Document
from repro.stages import config as configs
from repro.stages import files
from repro.stages.errors import StageError, Unreachable
from repro.stages.run import CONFIG, DIFF, LOG, MANIFEST, OWN_FILES
from repro.stages.running import manifest
from repro.stages.running.environment import asked_for
from repro.stages.running.execution import Result, result_of
from repro.stages.source import project, provenance, registry
from repro.worker.gpus import Inventory
from repro.worker.live.curve_sampler import Curve
from repro.worker.live.log_cursor import Told, tail
from repro.worker.live.usage_meter import Meter
from repro.worker.process.fork_client import Child, Interpreter, Lost
from repro.worker.slots import Slot
from repro.worker.store import checkpoint_store
from repro.worker.store.store import Store

CHECKPOINTS = "checkpoints"  # in an attempt's work folder, beside what becomes its outputs
MOST_OUTPUTS = 1000  # entries in a document; the manifest always has all
# What the system refuses a stage because of the machine, its disk or its network: elsewhere, or later, it may go well.
# Memory belongs to them, for the kernel's way to refuse it, SIGKILL, does too.
OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOMEM, errno.ENFILE),
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
}


@dataclass(frozen=True)
class Done:
    location: str
    result: Document


@dataclass(frozen=True)
class Failed:
    """By the run itself: the same config would fail again."""

    error: Document


@dataclass(frozen=True)
class Faulted:
    """By the machine: another attempt may do better."""

    error: Document


@dataclass(frozen=True)
class Stopped:
    """The run was taken away or cancelled and there is nothing to write, or it is to be handed back."""

    why: str
    hand_back: bool = False


Outcome = Done | Failed | Faulted | Stopped
HANDED_BACK = Stopped("handed back", hand_back=True)


@dataclass
class Attempt:
    """A claimed run while this worker has it. The lease's keeper reads `progress` and may call `stop`."""

    run: RunDocument
    slot: Slot
    sources: dict[str, RunDocument]
    began: float = field(default_factory=time.monotonic)
    progress: Document | None = None
    moved: float = field(default_factory=time.monotonic)  # when the stage last said how far it is
    told: Told = field(default_factory=Told)
    curve: Curve = field(default_factory=Curve)
    meter: Meter = field(default_factory=Meter)
    checkpoint: Document | None = None  # the newest one that is whole in the store
    leaving: bool = False  # told to stop at its next step, to be handed back
    stopped: Outcome | None = None
    child: Child | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return str(self.run["_id"])

    @property
    def token(self) -> str:
        return str(self.run["lease"]["token"])

    def news(self) -> Document:
        """What a heartbeat tells of it."""
        told: Document = {"cards": list(self.slot.cards)} if self.slot.cards else {}
        told |= {"progress": self.progress} if self.progress else {}
        told |= {"telemetry": used} if (used := self.meter.now()) else {}
        told |= {"checkpoint": self.checkpoint} if self.checkpoint else {}
        if self.told.log is not None:
            with contextlib.suppress(FileNotFoundError):  # not begun yet, or over already
                told["log_tail"] = tail(self.told.log)
        return told

    def look(self, inventory: Inventory) -> None:
        """At what the stage uses, while it runs."""
        if self.child is not None and (pid := self.child.pid) is not None:
            self.meter.look(inventory, self.slot.cards, pid)

    def keep_checkpoint(self, checkpoint: Document) -> None:
        self.checkpoint = checkpoint

    def over_limit(self, now: float) -> Document | None:
        """The error of a run past its time limit, or without progress for too long; it would be so again."""
        limit, stall = self.run["time_limit"], self.run.get("stall_limit")
        if limit is not None and now - self.began > limit:
            return {"type": "TimeLimit", "message": f"stopped after its time limit of {limit:g} s"}
        if stall is not None and now - self.moved > stall:
            return {"type": "StallLimit", "message": f"stopped after {stall:g} s without progress"}
        return None

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

    def started(self, child: Child) -> None:
        with self._lock:
            self.child = child
            if self.stopped is not None:
                child.kill()
            elif self.leaving:
                child.tell_to_stop()


@dataclass
class Executor:
    """What every execution on this machine shares."""

    store: Store
    home: Path
    data: str
    interpreter: Interpreter

    def execute(self, attempt: Attempt) -> Outcome:
        """Run an attempt to its end; never raises for a fault of the run or of the machine."""
        location = self.store.location(attempt.name, attempt.token)
        work = self.home / "work" / f"{attempt.name}-{attempt.token[:8]}"
        try:
            return self._execute(attempt, location, work)
        except StageError as error:
            return Failed(_error(error))
        except (OSError, Lost, Unreachable) as error:
            return attempt.stopped or (HANDED_BACK if attempt.leaving else Faulted(_error(error)))
        except Exception as error:  # a document that nobody foresaw must not end the worker
            return Failed(_error(error))
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _execute(self, attempt: Attempt, location: str, work: Path) -> Outcome:
        self.store.open_attempt(location)
        self.store.create(location, CONFIG, configs.pretty(attempt.run["config"]))
        out, log = work / "out", work / LOG
        out.mkdir(parents=True)
        attempt.told.log = log
        self._prepare(attempt, work, out)
        granted = asked_for(registry.environment(attempt.run["stage"]), os.environ) | attempt.slot.environment
        uploader = checkpoint_store.Uploader(self.store, location, work / CHECKPOINTS, attempt.keep_checkpoint)
        try:
            last = self._watch(attempt, self.interpreter.start(work, log, granted), uploader)
        finally:
            uploader.end()
        failure = attempt.stopped or _failure(last, attempt.leaving)
        if isinstance(failure, Faulted) or failure == HANDED_BACK:
            uploader.push_newest()  # the next attempt goes on from it
        if uploader.error:
            _say(log, uploader.error)
        if failure is None:
            return self._deliver(attempt, location, out, log, result_of(last["result"]))
        return self._keep(failure, location, out, log)

    def _prepare(self, attempt: Attempt, work: Path, out: Path) -> None:
        """Pull the inputs and write the child's request."""
        folders = {name: work / "inputs" / name for name in attempt.run["sources"]}
        for name, folder in folders.items():
            source = attempt.sources.get(name, {})
            if source.get("state") != State.DONE:
                raise StageError(f"source {name!r} is {source.get('state', 'gone')}, not done")
            self.store.pull(self.outputs(source), source["location"], folder)
        tokens = [token for token in runs.tokens(attempt.run) if token != attempt.token]
        earlier = [self.store.location(attempt.name, token) for token in reversed(tokens)]
        checkpoint_store.fetch(self.store, earlier, work / CHECKPOINTS, lambda line: _say(work / LOG, line))
        request = {
            "name": attempt.run.get("verifies", attempt.name),  # a rerun is told what its original was told
            "config": attempt.run["config"],
            "inputs": {name: str(folder) for name, folder in folders.items()},
            "out": str(out),
            "checkpoints": str(work / CHECKPOINTS),
            "fingerprint": attempt.run["fingerprint"],
            "data": self.data,
            "hermetic": attempt.run.get("hermetic", False),
            "project": project.folders(),
        }
        (work / "request.json").write_text(json.dumps(request))

    def _watch(self, attempt: Attempt, child: Child, uploader: checkpoint_store.Uploader) -> dict[str, Any]:
        """Follow the child to its exit; returns its last words, by kind."""
        attempt.started(child)
        last: dict[str, Any] = {}
        for line in child.lines():
            last |= line
            if "progress" in line:
                attempt.progress, attempt.moved = line["progress"], time.monotonic()
                attempt.meter.heard(line["progress"]["step"], attempt.moved)
            if "checkpoint" in line:
                uploader.look()
        attempt.meter.peak = max(attempt.meter.peak, last.get("peak", 0))
        return last

    def _keep(self, failure: Outcome, location: str, out: Path, log: Path) -> Outcome:
        """What a failed attempt has left goes to its folder, for people to look at; failing at that changes nothing."""
        left = [name for name in files.below(out) if not _is_link(out / name)]
        try:
            self.store.push(location, log.parent, [LOG])
            self.store.push(location, out, left)
        except (OSError, Unreachable) as error:
            return _with_log(failure, log, f"not in the store: {error}")
        return _with_log(failure, log, f"{location}/{LOG}")

    def _deliver(self, attempt: Attempt, location: str, out: Path, log: Path, result: Result) -> Outcome:
        """Outputs, log, and at last the mark of a complete folder."""
        package = registry.package(attempt.run["stage"])
        result.environment.update(provenance.code(package))
        own = self.store.push(location, out, set(files.below(out)) - {*OWN_FILES, *result.links})
        outputs = sorted(own + self._passed_on(attempt, result), key=lambda output: str(output["path"]))
        self.store.push(location, log.parent, [LOG])
        if result.environment.get("dirty"):
            self.store.create(location, DIFF, provenance.diff(package))
        run, sources, used = attempt.run, attempt.sources, attempt.meter.summary()
        of_sources = {n: {"fingerprint": s["fingerprint"], "location": s["location"]} for n, s in sources.items()}
        mark = manifest.manifest(attempt.name, run["config"], run["fingerprint"], of_sources, outputs, result, used)
        self.store.create(location, MANIFEST, mark)
        kept = {"metrics": result.metrics, "params": result.params, "environment": result.environment, "usage": used}
        return Done(location, kept | bounded(outputs, mark) | ({"unread": result.unread} if result.unread else {}))

    def _passed_on(self, attempt: Attempt, result: Result) -> list[dict[str, Any]]:
        """What `run.link` took from an input stays where it lies: the ancestor's object, by its URL."""
        found = []
        for path, (source, name) in result.links.items():
            ancestor = attempt.sources[source]
            entry = next(output for output in self.outputs(ancestor) if output["path"] == name)
            found.append(entry | {"path": path, "location": entry.get("location") or f"{ancestor['location']}/{name}"})
        return found

    def outputs(self, source: RunDocument) -> list[dict[str, Any]]:
        return outputs_of(self.store, source)


def outputs_of(store: Store, run: RunDocument) -> list[dict[str, Any]]:
    """All outputs of a done run: from its manifest, where its document holds only some of them or none."""
    if "outputs_total" in run or "outputs" not in run:
        return list(json.loads(store.read(run["location"], MANIFEST))["outputs"])
    return list(run["outputs"])


def _is_link(path: Path) -> bool:
    """A file that the stage passed on, not its own."""
    return path.is_symlink() or path.stat().st_nlink > 1


def bounded(outputs: list[dict[str, Any]], mark: bytes) -> Document:
    """What of the outputs fits into a document; beyond a bound their sums, and the sum of the whole list's file."""
    if len(outputs) <= MOST_OUTPUTS:
        return {"outputs": outputs}
    size = sum(output["size"] for output in outputs)
    total = {"count": len(outputs), "size": size, "manifest_sha256": hashlib.sha256(mark).hexdigest()}
    return {"outputs": outputs[:MOST_OUTPUTS], "outputs_total": total}


def _failure(last: dict[str, Any], leaving: bool = False) -> Outcome | None:
    """What the child's last words mean; None if it ended well. One that was told to stop may end by that signal."""
    code = last["exit"]
    if "stopped" in last or (leaving and code < 0):
        return HANDED_BACK
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return Faulted({"type": "Killed", "message": f"the stage's process was killed by {name}{hint}"})
    if code == 0 and "result" in last:
        return None
    error = last.get("error") or {"type": "Exited", "message": f"the stage's process left with code {code}"}
    kind = Faulted if error.pop("errno", None) in OF_THE_MACHINE else Failed
    return kind(error)


def _with_log(outcome: Outcome, log: Path, url: str) -> Outcome:
    if isinstance(outcome, Failed | Faulted):
        return type(outcome)(outcome.error | {"log_tail": tail(log), "log": url})
    return outcome


def _say(log: Path, line: str) -> None:
    """The worker's own word in a run's log."""
    with log.open("a") as file:
        file.write(f"{line}\n")


def _error(error: Exception) -> Document:
    return {"type": type(error).__name__, "message": str(error) or type(error).__name__}

"""One claimed run -> one outcome. Nothing here writes a run document: `settlement.settle` does that.

First the attempt's folder is made in the store, and the config created in it, so that nobody else can take it; then
the stage runs; then `delivery` writes what came of it.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.scheduler import runs
from repro.scheduler.runs import State
from repro.scheduler.server.connection import Document
from repro.stages import config as configs
from repro.stages.errors import StageError
from repro.stages.own_files import CONFIG
from repro.stages.running.environment import asked_for
from repro.stages.running.execution import result_of
from repro.stages.running.own_process import read_answer
from repro.stages.source import modules, project, provenance, registry
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.delivery import deliver, keep_failed
from repro.worker.attempt.faults import outcome_of_error, outcome_of_exit
from repro.worker.attempt.outcome import HANDED_BACK, MachineFault, Outcome
from repro.worker.attempt.workspace import Workspace
from repro.worker.process.fork_client import Child, ForkServer
from repro.worker.store import checkpoint_store
from repro.worker.store.code_archives import CodeFolders
from repro.worker.store.interruption import interrupted_if
from repro.worker.store.outputs import outputs_of
from repro.worker.store.store import Store


@dataclass
class Executor:
    """What every execution on this machine shares."""

    store: Store
    home: Path
    data: str
    fork_server: ForkServer

    @property
    def code_folders(self) -> CodeFolders:
        return CodeFolders(self.home / "code", self.store)

    def execute(self, attempt: Attempt) -> Outcome:
        """Run an attempt to its end; never raises for a fault of the run or of the machine."""
        location = self.store.location(attempt.name, attempt.token)
        workspace = Workspace(location, self.home / "work" / f"{attempt.name}-{attempt.token[:8]}")
        try:
            return self._execute(attempt, workspace)
        except Exception as error:  # a document that nobody foresaw must not end the worker
            return outcome_of_error(error, attempt)
        finally:
            shutil.rmtree(workspace.folder, ignore_errors=True)

    def _execute(self, attempt: Attempt, workspace: Workspace) -> Outcome:
        self.store.open_attempt(workspace.location)
        self.store.create(workspace.location, CONFIG, configs.pretty(attempt.run["config"]))
        workspace.out.mkdir(parents=True)
        attempt.log_cursor.log = workspace.log
        with self.code_folders.held(attempt.run) as folders, project.within(folders):
            return self._compute(attempt, workspace)

    def _compute(self, attempt: Attempt, workspace: Workspace) -> Outcome:
        with interrupted_if(attempt.is_unwanted):
            self._prepare(attempt, workspace)
        folder = workspace.checkpoints
        uploader = checkpoint_store.Uploader(self.store, workspace.location, folder, attempt.record_checkpoint)
        code = provenance.snapshot(attempt.run["stage"], attempt.run.get("code"))
        last = self._run_stage(attempt, workspace, uploader)
        attempt.ended()
        failure = attempt.stopped or outcome_of_exit(last, attempt.leaving, attempt.slot.shares_card)
        if isinstance(failure, MachineFault) or failure == HANDED_BACK or (failure is None and attempt.is_rung):
            uploader.push_newest()  # the next attempt, or the longer run, goes on from it
        if uploader.error:
            workspace.append_to_log(uploader.error)
        if failure is None:
            try:
                for name, source in attempt.sources.items():
                    self.store.check_inputs(outputs_of(self.store, source), source["location"], name)
                with interrupted_if(attempt.is_unwanted):
                    return deliver(self.store, attempt, workspace, result_of(last["result"]), code)
            except StageError as error:  # what the stage has left can't be a result
                failure = outcome_of_error(error, attempt)
                workspace.append_to_log(str(error))
        return keep_failed(self.store, failure, workspace)

    def _prepare(self, attempt: Attempt, workspace: Workspace) -> None:
        """Pull the inputs, and the checkpoint of an earlier attempt, and write the child's request."""
        for name in attempt.run["sources"]:
            source = attempt.sources.get(name, {})
            if source.get("state") != State.DONE:
                raise StageError(f"source {name!r} is {source.get('state', 'gone')}, not done")
        _check_fingerprint(attempt)
        for name in attempt.run["sources"]:
            source = attempt.sources[name]
            self.store.pull(outputs_of(self.store, source), source["location"], workspace.input(name))
        tokens = [token for token in runs.tokens(attempt.run) if token != attempt.token]
        earlier = [self.store.location(attempt.name, token) for token in reversed(tokens)]
        checkpoint_store.fetch(self.store, [*earlier, *attempt.shorter], workspace.checkpoints, workspace.append_to_log)
        workspace.request.write_text(json.dumps(_request(attempt, workspace, self.data)))

    def _run_stage(self, attempt: Attempt, workspace: Workspace, uploader: checkpoint_store.Uploader) -> dict[str, Any]:
        """Run the stage in a child, and push its checkpoints meanwhile; returns the child's last words, by kind."""
        granted = asked_for(registry.environment(attempt.run["stage"]), os.environ) | attempt.slot.environment
        try:
            child = self.fork_server.start(workspace.folder, workspace.log, granted)
            try:
                return self._watch(attempt, child, uploader, workspace)
            finally:
                child.kill()  # it is over, unless watching it failed: then it must not keep its card
        finally:
            uploader.end()

    def _watch(
        self, attempt: Attempt, child: Child, uploader: checkpoint_store.Uploader, workspace: Workspace
    ) -> dict[str, Any]:
        """Follow the child to its exit; returns its last words, by kind."""
        attempt.started(child)
        last: dict[str, Any] = {}
        for line in child.lines():
            last |= line
            if "progress" in line:
                attempt.record_progress(line["progress"])
            if "checkpoint" in line:
                uploader.announce_new()
        attempt.usage_meter.peak = max(attempt.usage_meter.peak, last.get("peak", 0))
        return last | read_answer(workspace.answer)


def _check_fingerprint(attempt: Attempt) -> None:
    """A result is found by its fingerprint: it must be the one of the sources that are really read.

    Raises:
        StageError: it is of others.
    """
    run = attempt.run
    digest = configs.fingerprint(run["config"], {name: s["fingerprint"] for name, s in attempt.sources.items()})
    if run["sources"] and digest != run["fingerprint"]:
        raise StageError(
            f"this run was submitted for other sources than those that are called {', '.join(run['sources'])} now; "
            "cancel it, and submit its config under a new name"
        )


def _of_checkpoints(attempt: Attempt) -> str:
    """The fingerprint of what its checkpoints hold."""
    of_sources = {name: source["fingerprint"] for name, source in attempt.sources.items()}
    return configs.fingerprint(registry.of_checkpoints(attempt.run["config"]), of_sources)


def _request(attempt: Attempt, workspace: Workspace, data: str) -> Document:
    run = attempt.run
    return {
        "name": run.get("verifies", attempt.name),  # a rerun is told what its original was told
        "config": run["config"],
        "inputs": {name: str(workspace.input(name)) for name in run["sources"]},
        "out": str(workspace.out),
        "checkpoints": str(workspace.checkpoints),
        "fingerprint": run["fingerprint"],
        "of_checkpoints": _of_checkpoints(attempt),
        "data": data,
        "hermetic": run.get("hermetic", False),
        "project": project.folders(),
        "elsewhere": modules.elsewhere(),
    }

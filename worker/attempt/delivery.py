"""What an attempt leaves in the store: the whole result of a run that ended well, or what a failure left behind.

The order of writes is the promise: outputs and log first, `repro-run.json` last. Whatever dies in between leaves a
folder without `repro-run.json`, which counts for nothing.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.scheduler.server.connection import Document
from repro.stages.errors import Unreachable
from repro.stages.own_files import DIFF, LOG, MANIFEST
from repro.stages.running import manifest
from repro.stages.running.execution import Result
from repro.stages.running.outputs import Outputs, collect, whole_files
from repro.stages.running.terminal_report import remarks
from repro.stages.source.provenance import Snapshot
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import Done, Failed, MachineFault, Outcome
from repro.worker.attempt.workspace import Workspace
from repro.worker.live.log_cursor import tail
from repro.worker.store.outputs import bounded, outputs_of
from repro.worker.store.store import Store


def deliver(store: Store, attempt: Attempt, workspace: Workspace, result: Result, code: Snapshot) -> Done:
    """Outputs, log, and at last the mark of a complete folder. `code`: as it was before the stage began."""
    result.environment.update(code.facts)
    found = collect(workspace.out, workspace.inputs(attempt.run["sources"]), result.links)
    for remark in remarks(result, found.empty):
        workspace.append_to_log(remark)
    outputs = _push_outputs(store, attempt, workspace, found)
    store.push(workspace.location, workspace.folder, workspace.own_files())
    if code.diff:
        store.create(workspace.location, DIFF, code.diff)
    usage = attempt.usage_meter.summary()
    mark = _manifest(attempt, outputs, result, usage)
    store.create(workspace.location, MANIFEST, mark)
    fields = {"metrics": result.metrics, "params": result.params, "environment": result.environment, "usage": usage}
    unread = {"unread": result.unread} if result.unread else {}
    return Done(workspace.location, fields | bounded(outputs, mark) | unread)


def keep_failed(store: Store, failure: Outcome, workspace: Workspace) -> Outcome:
    """Push what a failed attempt has left to its folder, for people to read; that this fails too changes nothing."""
    try:
        store.push(workspace.location, workspace.folder, workspace.own_files())
        store.push(workspace.location, workspace.out, whole_files(workspace.out))
    except (OSError, Unreachable) as error:
        return _with_log(failure, workspace.log, f"not in the store: {error}")
    return _with_log(failure, workspace.log, f"{workspace.location}/{LOG}")


def _push_outputs(store: Store, attempt: Attempt, workspace: Workspace, found: Outputs) -> list[dict[str, Any]]:
    pushed = store.push(workspace.location, workspace.out, found.files)
    return sorted(pushed + _passed_on(store, attempt, found), key=lambda output: str(output["path"]))


def _passed_on(store: Store, attempt: Attempt, found: Outputs) -> list[dict[str, Any]]:
    """What `run.link` took from an input stays where it lies: the ancestor's object, by its URL."""
    outputs = []
    for path, (source, name) in found.links.items():
        ancestor = attempt.sources[source]
        entry = next(output for output in outputs_of(store, ancestor) if output["path"] == name)
        outputs.append(entry | {"path": path, "location": entry.get("location") or f"{ancestor['location']}/{name}"})
    return outputs


def _manifest(attempt: Attempt, outputs: list[dict[str, Any]], result: Result, usage: Document) -> bytes:
    run = attempt.run
    sources = {
        name: {"fingerprint": source["fingerprint"], "location": source["location"]}
        for name, source in attempt.sources.items()
    }
    code = run.get("code") if "location" in run.get("code", ()) else None
    return manifest.manifest(attempt.name, run["config"], run["fingerprint"], sources, outputs, result, usage, code)


def _with_log(outcome: Outcome, log: Path, url: str) -> Outcome:
    if isinstance(outcome, Failed | MachineFault):
        return replace(outcome, error=outcome.error | {"log_tail": tail(log), "log": url})
    return outcome

"""What an attempt leaves in the store: the whole result of a run that ended well, or what a failure left behind.

The order of writes is the promise: outputs and log first, `repro-run.json` last. Whatever dies in between leaves
a folder without `repro-run.json`, which counts for nothing.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.scheduler.server.connection import Document
from repro.stages import files
from repro.stages.errors import StageError, Unreachable
from repro.stages.run import DIFF, LOG, MANIFEST
from repro.stages.running import manifest
from repro.stages.running.collecting import Collector, is_portable
from repro.stages.running.execution import Result
from repro.stages.source import provenance, registry
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.faults import outcome_of_error
from repro.worker.attempt.outcome import Done, Failed, MachineFault, Outcome
from repro.worker.attempt.workspace import Workspace
from repro.worker.live.log_cursor import tail
from repro.worker.store.outputs import bounded, outputs_of
from repro.worker.store.store import Store


def deliver(store: Store, attempt: Attempt, workspace: Workspace, result: Result) -> Outcome:
    """Outputs, log, and at last the mark of a complete folder; a failure if there is what can't be an output."""
    try:
        own = _own_outputs(attempt, workspace, result)
    except StageError as error:
        return keep_failed(store, outcome_of_error(error, attempt), workspace)
    package = registry.package(attempt.run["stage"])
    result.environment.update(provenance.code(package))
    outputs = _push_outputs(store, attempt, workspace, result, own)
    store.push(workspace.location, workspace.folder, [LOG])
    if result.environment.get("dirty"):
        store.create(workspace.location, DIFF, provenance.diff(package))
    usage = attempt.usage_meter.summary()
    mark = _manifest(attempt, outputs, result, usage)
    store.create(workspace.location, MANIFEST, mark)
    fields = {"metrics": result.metrics, "params": result.params, "environment": result.environment, "usage": usage}
    unread = {"unread": result.unread} if result.unread else {}
    return Done(workspace.location, fields | bounded(outputs, mark) | unread)


def keep_failed(store: Store, failure: Outcome, workspace: Workspace) -> Outcome:
    """Push what a failed attempt has left to its folder, for people to read; that this fails too changes nothing."""
    own = [name for name in files.below(workspace.out) if is_portable(name) and not _is_passed_on(workspace.out / name)]
    try:
        store.push(workspace.location, workspace.folder, [LOG])
        store.push(workspace.location, workspace.out, own)
    except (OSError, Unreachable) as error:
        return _with_log(failure, workspace.log, f"not in the store: {error}")
    return _with_log(failure, workspace.log, f"{workspace.location}/{LOG}")


def _own_outputs(attempt: Attempt, workspace: Workspace, result: Result) -> list[str]:
    """What the stage has made itself; what it has passed on is in `result.links` afterwards.

    Raises:
        StageError: something in its folder can't be an output.
    """
    inputs = {name: workspace.input(name) for name in attempt.run["sources"]}
    collector = Collector(workspace.out, inputs, result.links)
    names = collector.collect()
    for folder in collector.empty:
        workspace.append_to_log(f"not kept: {folder}/ is empty")
    return [name for name in names if name not in result.links]


def _push_outputs(
    store: Store, attempt: Attempt, workspace: Workspace, result: Result, own: list[str]
) -> list[dict[str, Any]]:
    pushed = store.push(workspace.location, workspace.out, own)
    return sorted(pushed + _passed_on(store, attempt, result), key=lambda output: str(output["path"]))


def _passed_on(store: Store, attempt: Attempt, result: Result) -> list[dict[str, Any]]:
    """What `run.link` took from an input stays where it lies: the ancestor's object, by its URL."""
    outputs = []
    for path, (source, name) in result.links.items():
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
    return manifest.manifest(attempt.name, run["config"], run["fingerprint"], sources, outputs, result, usage)


def _is_passed_on(path: Path) -> bool:
    """A file that the stage passed on, not its own."""
    return path.is_symlink() or path.stat().st_nlink > 1


def _with_log(outcome: Outcome, log: Path, url: str) -> Outcome:
    if isinstance(outcome, Failed | MachineFault):
        return replace(outcome, error=outcome.error | {"log_tail": tail(log), "log": url})
    return outcome

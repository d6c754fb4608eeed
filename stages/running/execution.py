"""The one way to execute a run: with a queue or without, the same bytes."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repro.stages import files
from repro.stages.errors import StageError
from repro.stages.plain import shown
from repro.stages.run import Metrics, Run, plain_metrics
from repro.stages.running import audit_hook, determinism, ranks
from repro.stages.running.forked_notes import ForkedNotes
from repro.stages.running.rank_parent import supervise
from repro.stages.running.warming import load_plots
from repro.stages.source import provenance, registry


@dataclass(frozen=True)
class Result:
    """What a stage left besides its files."""

    metrics: Metrics
    links: dict[str, tuple[str, str]]
    environment: dict[str, Any]
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def execute(run: Run, end: Callable[[], None] = lambda: None) -> Result:
    """Set up determinism from the config, call the stage, gather what it read and returned.

    `end` is called once the stage has returned, and is watched as the stage is: what its process does at its end.

    Raises:
        StageError: by the stage's own checks. Whatever else the stage raises passes through; of one of several ranks
            as RankError.
        Stopped: it was told to stop, and has left a checkpoint.
    """
    stage = registry.load(run.params["stage"])
    size = ranks.count(run.params) if getattr(sys.modules[stage.__module__], "RANKS", False) else 1
    notes = ForkedNotes(run)
    try:
        result = _on_ranks(run, stage, size, end, notes) if size > 1 else _compute(run, stage, end, notes)
        notes.hear()
    finally:
        notes.close()
    seen = {"data": run.data_files.facts(run.data), "undeclared": run.undeclared.facts()}
    return replace(
        result,
        params=run.params.record(),
        unread=run.params.unread(),
        environment=result.environment | {what: facts for what, facts in seen.items() if facts},
    )


def result_of(document: Mapping[str, Any]) -> Result:
    """A result that came as JSON from the process that has it."""
    links = {path: (source, name) for path, (source, name) in document["links"].items()}
    return Result(**dict(document) | {"links": links})


def _on_ranks(run: Run, stage: registry.Stage, size: int, end: Callable[[], None], notes: ForkedNotes) -> Result:
    """What rank 0 has; what any of them has read, or done, is noted here."""
    return result_of(supervise(run, size, lambda rank: _compute(rank, stage, end, notes)))


def _compute(run: Run, stage: registry.Stage, end: Callable[[], None], notes: ForkedNotes) -> Result:
    """All of the result but what is noted of the run while it is computed."""
    settings = determinism.apply(run.params)
    if run.hermetic:
        load_plots()  # what it does at its import is not the stage's
    try:
        with audit_hook.watched(run, stage, notes.hear):
            metrics = _checked(stage(run))
            end()
    finally:
        if run.curve and run.curve_file and run.rank == 0:
            files.create(run.curve_file, run.curve.as_csv())
        if run.checkpoints is not None:
            run.checkpoints.close()
    environment = provenance.versions() | {"packages": provenance.packages()} | provenance.hardware() | settings
    module = stage.__module__
    if varying := registry.texts(getattr(sys.modules[module], "VARYING", None), f"VARYING of {module}"):
        environment["varying"] = list(varying)
    return Result(metrics, dict(run.links), environment)


def _checked(returned: object) -> Metrics:
    """What a stage returned, as plain figures. One that is not finite is a figure, too, and no reason to lose files."""
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise StageError(f'a stage returns its metrics, such as {{"loss": 0.5}}, or None, got: {shown(returned)}')
    return plain_metrics(returned)

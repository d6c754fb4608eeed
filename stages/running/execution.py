"""The one way to execute a run: with a queue or without, the same bytes."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.stages.errors import StageError
from repro.stages.run import Metrics, Run
from repro.stages.running import audit_hook, determinism, ranks
from repro.stages.running.rank_parent import supervise
from repro.stages.source import provenance, registry


@dataclass(frozen=True)
class Result:
    """What a stage left besides its files."""

    metrics: Metrics
    params: dict[str, dict[str, Any]]
    links: dict[str, tuple[str, str]]
    environment: dict[str, Any]
    unread: list[str] = field(default_factory=list)


def execute(run: Run) -> Result:
    """Set up determinism from the config, call the stage, gather what it read and returned.

    Raises:
        StageError: by the stage's own checks. Whatever else the stage raises passes through; of one of several ranks
            as RankError.
        Stopped: it was told to stop, and has left a checkpoint.
    """
    stage = registry.load(run.params["stage"])
    size = ranks.count(run.params) if getattr(sys.modules[stage.__module__], "RANKS", False) else 1
    if size == 1:
        return _compute(run, stage)
    return result_of(supervise(run, size, lambda rank: _compute(rank, stage)))


def result_of(document: Mapping[str, Any]) -> Result:
    """A result that came as JSON from the process that has it."""
    links = {path: (source, name) for path, (source, name) in document["links"].items()}
    return Result(**dict(document) | {"links": links})


def _compute(run: Run, stage: registry.Stage) -> Result:
    settings = determinism.apply(run.params)
    try:
        with audit_hook.watched(run, stage) as watch:
            metrics = _checked(stage(run) or {})
            run.ending()
    finally:
        if run.checkpoints is not None:
            run.checkpoints.close()
    environment = provenance.versions() | provenance.hardware() | settings
    if undeclared := watch.undeclared():
        environment["undeclared"] = undeclared
    return Result(metrics, run.params.record(), dict(run.links), environment, run.params.unread())


def _checked(metrics: Mapping[str, Any]) -> Metrics:
    for name, value in metrics.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise StageError(f"metric {name!r}: a stage returns plain finite numbers, got: {value!r}")
    return dict(metrics)

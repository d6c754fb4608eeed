"""Defaults that changed under done runs: what they were when the runs read them, what they are in today's code."""

from typing import TYPE_CHECKING, Any

from repro.scheduler.queue import lookup
from repro.scheduler.server.connection import server_time
from repro.worker.audit import default_drift

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue


def view(db: "Queue", stage: str = "") -> dict[str, Any]:
    """`drifts` (as `repro verify --defaults --json`), of all done runs or of a stage's; `stages` that there are."""
    return {
        "now": server_time(db),
        "drifts": [one.as_dict() for one in default_drift.drifts(db, (), stage or None)],
        "stages": lookup.stages(db),
        "stage": stage,
    }

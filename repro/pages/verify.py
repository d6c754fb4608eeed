"""What reruns on later code came to: the last verdict of each run, and the reruns that are under way."""

from typing import TYPE_CHECKING, Any

from repro.scheduler.queue import audits
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ConfigError
from repro.views.verdict_lines import lines
from repro.worker.audit.result_comparison import Level

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

MOST = 200  # runs
LEVELS = [str(level) for level in Level]


def view(db: "Queue", level: str = "") -> dict[str, Any]:
    """`runs`: `name`, `stage`, `level`, `at`, `was` and `is` (commits), `lines` for people; `under_way`, `levels`.

    Raises:
        ConfigError: there is no such level.
    """
    if level and level not in LEVELS:
        raise ConfigError(f"level {level!r}: the levels are {', '.join(LEVELS)}")
    judged = []
    for run in audits.judged(db, MOST, level):
        last = run["verdicts"][-1]
        judged.append(
            {
                "name": run["_id"],
                "stage": run["stage"],
                "level": last["level"],
                "at": last.get("at"),
                "was": (run.get("environment") or {}).get("commit", ""),
                "is": (last.get("environment") or {}).get("commit", ""),
                "verdicts": len(run["verdicts"]),
                "lines": lines(run, last),
            }
        )
    return {
        "now": server_time(db),
        "runs": judged,
        "under_way": audits.reruns_under_way(db, MOST),
        "levels": LEVELS,
        "level": level,
    }

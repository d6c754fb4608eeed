"""Where a result comes from, down to the raw files with their sums, and all that was made of it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from repro.readers.raw_files import raw_files
from repro.scheduler.queue import lineage, lookup
from repro.scheduler.server.connection import server_time

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue
    from repro.worker.store.store import Store

MOST_RUNS = 500
SHOWN = ("stage", "state", "sources", "fingerprint", "location", "environment", "finished_at", "same_as")


def view(db: "Queue", name: str, open_store: "Callable[[], Store]") -> dict[str, Any]:
    """`run`, `above` and `below`: `{run, depth}` a line, the nearest first; `raw`: the files of each dataset above.

    Raises:
        ReproError: there is no such run.
    """
    (run,) = lookup.runs(db, [name], dict.fromkeys((*SHOWN, "outputs", "outputs_total"), 1))
    above = lineage.ancestors(db, run)
    return {
        "now": server_time(db),
        "run": _shown(run),
        "above": [{"run": _shown(above.get(one, {"_id": one})), "depth": depth} for one, depth in _up(run, above)],
        "below": [{"run": _shown(one), "depth": depth} for one, depth in lineage.descendants(db, name, MOST_RUNS)],
        "raw": [raw_files(open_store, one) for one in (run, *above.values()) if not one["sources"]],
    }


def _up(run: "RunDocument", above: "Mapping[str, RunDocument]") -> list[tuple[str, int]]:
    """Sources below what reads them, each run's own sources once."""
    lines: list[tuple[str, int]] = []
    told: set[str] = set()

    def tell(names: list[str], depth: int) -> None:
        for name in names:
            lines.append((name, depth))
            if name not in told and name in above:
                told.add(name)
                tell(above[name]["sources"], depth + 1)

    tell(run["sources"], 1)
    return lines


def _shown(run: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: run.get(key) for key in ("_id", *SHOWN) if key != "environment"}
    return shown | {"commit": (run.get("environment") or {}).get("commit")}

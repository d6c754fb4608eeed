"""The table of `repro workers`: a row a worker."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro.scheduler.runs import demands, told_by
from repro.stages.plain import clean
from repro.views.tables import duration, size

if TYPE_CHECKING:
    from datetime import datetime

COLUMNS = ("WORKER", "CARDS", "PLACES", "HAS", "CODE", "SEEN", "LACKS")
EXPENDABLE = ("CODE", "PLACES", "SEEN")  # on a narrow terminal, in this order
OF_CARDS = ("card", "memory")


def facts(worker: Mapping[str, Any], now: "datetime") -> dict[str, Any]:
    """For scripts."""
    told = {key: worker.get(key) for key in ("cards", "numbers", "cpus", "has", "meets", "code")}
    return {
        "name": worker["_id"],
        **told,
        "draining": bool(worker.get("drain")),
        "seconds_since_heard": round((now - worker["seen_at"]).total_seconds(), 1),
        "lacks": _lacks(worker),
    }


def row(worker: Mapping[str, Any], now: "datetime") -> list[str]:
    """For people."""
    has = worker.get("has") or {}
    return [
        worker["_id"] + (" (leaving)" if worker.get("drain") else ""),
        _cards(worker, has),
        str(worker["cpus"]),
        clean(", ".join(f"{key} {value}" for key, value in has.items() if key not in OF_CARDS)),
        clean(str(worker.get("code") or "")),
        f"{duration((now - worker['seen_at']).total_seconds())} ago",
        clean("; ".join(_lacks(worker))),
    ]


def _lacks(worker: Mapping[str, Any]) -> list[str]:
    """What it lacks for runs that wait: in its own code, and of the machine."""
    misses = [f"has not {demands.shown(needs)}" for needs in worker.get("misses", ())]
    return [*(str(lack) for lack in told_by(dict(worker))), *misses]


def _cards(worker: Mapping[str, Any], has: Mapping[str, Any]) -> str:
    count = len(worker["cards"])
    kind = f" x {has['card']}" if count and "card" in has else ""
    memory = f", {size(has['memory'])} each" if count and "memory" in has else ""
    return f"{count}{kind}{memory}"

"""The table of `repro status`: a row a run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.views.tables import duration, load, speed

if TYPE_CHECKING:
    from datetime import datetime

    from repro.scheduler.runs import RunDocument

COLUMNS = (
    *("NAME", "STAGE", "STATE", "SOURCE", "WORKER", "GPU", "PROGRESS", "ETA", "SPEED", "LOAD"),
    *("TRIES", "AGE", "WHAT"),
)
EXPENDABLE = (  # on a narrow terminal, in this order
    *("TRIES", "AGE", "SOURCE", "LOAD", "STAGE", "SPEED", "WORKER", "ETA", "GPU"),
)
BAR = 10  # characters
COLOURS = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "bright_black", "held": "yellow"}


def summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items()) or "the queue is empty"


def rows(
    runs: "Sequence[RunDocument]", workers: Mapping[str, dict[str, Any]], reasons: Mapping[str, str], now: "datetime"
) -> list[list[str]]:
    """A row a run; `workers`: by name; `reasons`: why a run waits, by its name."""
    return [_row(run, workers, reasons, now) for run in runs]


def _row(
    run: "RunDocument", workers: Mapping[str, dict[str, Any]], reasons: Mapping[str, str], now: "datetime"
) -> list[str]:
    used = run.get("telemetry", {})
    since = run.get("finished_at") or run["submitted_at"]
    worker = (run.get("lease") or {}).get("worker", "")
    return [
        run["_id"],
        run["stage"],
        "held" if run["held"] and run["state"] in ("waiting", "pending") else run["state"],
        ",".join(run["sources"]),
        worker,
        _cards(run.get("cards", ()), workers.get(worker, {})),
        _progress(run),
        _eta(run, now),
        speed(used),
        load(used),
        str(run["attempts"] or ""),
        duration((now - since).total_seconds()),
        reasons.get(run["_id"]) or _result(run),
    ]


def _cards(used: Sequence[str], worker: dict[str, Any]) -> str:
    """The cards by the numbers that their worker's user calls them by."""
    numbers = dict(zip(worker.get("cards", ()), worker.get("numbers", ()), strict=False))
    return ",".join(str(numbers.get(card, card[:12])) for card in used)


def _progress(run: "RunDocument") -> str:
    progress = run.get("progress")
    return f"{progress['step']}/{progress['total']}" if progress else ""


def _eta(run: "RunDocument", now: "datetime") -> str:
    """How long it still takes at the pace of this attempt so far."""
    progress = run.get("progress")
    if not progress or not progress["step"] or not run.get("started_at"):
        return ""
    passed = (now - run["started_at"]).total_seconds()
    return duration(passed * max(0, progress["total"] - progress["step"]) / progress["step"])


def paint(column: str, cell: str) -> Any:
    """A cell as a terminal shows it: states in colours, progress with a bar."""
    from rich.text import Text

    if column == "STATE":
        return Text(cell, COLOURS.get(cell, ""))
    if column != "PROGRESS" or not cell:
        return Text(cell)
    step, total = map(int, cell.split("/"))
    done = round(BAR * min(1.0, step / total)) if total else 0
    return Text.assemble(("━" * done, "cyan"), ("━" * (BAR - done), "bright_black"), f" {cell}")


def _result(run: "RunDocument") -> str:
    """The one-line reason of a failure, or the first figures of a result."""
    if error := run.get("error"):
        return f"{error['type']}: {error['message']}".splitlines()[0][:100]
    metrics = run.get("metrics") or {}
    return "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3])

"""The table of `repro status`: a row a run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.scheduler.configs.spelling import spell
from repro.scheduler.lists import filters
from repro.stages.plain import clean, done, figures, number
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


def columns(keys: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns, with one for each of these keys of the filter language before the last."""
    return (*COLUMNS[:-1], *keys, COLUMNS[-1])


def rows(
    runs: "Sequence[RunDocument]",
    workers: Mapping[str, dict[str, Any]],
    reasons: Mapping[str, str],
    now: "datetime",
    keys: Sequence[str] = (),
    indented: bool = False,
) -> list[list[str]]:
    """A row a run; `workers`: by name; `reasons`: why a run waits, by its name; `keys`: see `columns`; `indented`: the
    names of runs that stand below their search."""
    made = [_row(run, workers, reasons, now) for run in runs]
    heads = {run["_id"] for run in runs} if indented else set()
    for run, row in zip(runs, made, strict=True):
        row[0] = f"  {row[0]}" if run.get("search") in heads else row[0]
    return [[*row[:-1], *(_value(run, key) for key in keys), row[-1]] for run, row in zip(runs, made, strict=True)]


def _value(run: "RunDocument", key: str) -> str:
    value = filters.value(run, key)
    return "" if value is None else clean(spell(value), 40)


def _row(
    run: "RunDocument", workers: Mapping[str, dict[str, Any]], reasons: Mapping[str, str], now: "datetime"
) -> list[str]:
    used = run.get("telemetry", {})
    since = run.get("finished_at") or run["submitted_at"]
    worker = (run.get("lease") or {}).get("worker", "")
    return [
        run["_id"],
        run["stage"],
        "held" if run["held"] is True and run["state"] in ("waiting", "pending") else run["state"],
        ",".join(run["sources"]),
        worker,
        _cards(run.get("cards", ()), workers.get(worker, {})),
        _progress(run),
        eta(run, now),
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
    return done(progress["step"], progress["total"]) if progress else ""


def eta(run: "RunDocument", now: "datetime") -> str:
    """How long it still takes at the pace of this attempt so far."""
    step, total = (number((run.get("progress") or {}).get(key)) for key in ("step", "total"))
    since = run.get("started_at")
    begun = number((run.get("progress") or {}).get("begun")) or 0  # the step that this attempt went on from
    if not (step and total and since and step > begun and math.isfinite(step) and math.isfinite(total)):
        return ""
    passed = (now - since).total_seconds()
    return duration(passed * max(0, total - step) / (step - begun))


def paint(column: str, cell: str) -> Any:
    """A cell as a terminal shows it: states in colours, progress with a bar."""
    from rich.text import Text

    if column == "STATE":
        return Text(cell, COLOURS.get(cell, ""))
    if column != "PROGRESS" or not cell:
        return Text(cell)
    step, _, total = cell.partition("/")
    if not (step.isdigit() and total.isdigit() and int(total)):  # not known, or of an older document
        return Text(cell)
    full = round(BAR * min(1.0, int(step) / int(total)))
    return Text.assemble(("━" * full, "cyan"), ("━" * (BAR - full), "bright_black"), f" {cell}")


def _result(run: "RunDocument") -> str:
    """The one-line reason of a failure, or the first figures of a result."""
    if error := run.get("error"):
        return clean(" ".join(f"{error['type']}: {error['message']}".splitlines()[:1]), 100)
    shown = figures(dict(list((run.get("metrics") or {}).items())[:3]))
    if "trials" in run:
        return f"best {run['same_as']}  {shown}" if "same_as" in run else ""
    return f"never read: {', '.join(run['unread'])}  {shown}".rstrip() if run.get("unread") else shown

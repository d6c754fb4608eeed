"""`repro status`: the queue at a glance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from repro.tools import completion

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType

    from repro.scheduler.queue.listing import Only
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

COLUMNS = (
    *("NAME", "STAGE", "STATE", "SOURCE", "WORKER", "GPU", "PROGRESS", "ETA", "SPEED", "LOAD"),
    *("TRIES", "AGE", "WHAT"),
)
EXPENDABLE = (  # on a narrow terminal, in this order
    *("TRIES", "AGE", "SOURCE", "LOAD", "STAGE", "SPEED", "WORKER", "ETA", "GPU"),
)
REFRESH = 1.0  # seconds
BAR = 10  # characters
COLOURS = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "bright_black", "held": "yellow"}


@click.command(epilog="Example: repro status 'model*' --state failed --state running -n 50 --watch")
@click.argument("names", metavar="[NAME|PATTERN]...", nargs=-1, shell_complete=completion.runs)
@click.option("--state", "states", multiple=True, shell_complete=completion.states,
              help="Only runs in this state; may be given again.")  # fmt: skip
@click.option("--stage", "stages", multiple=True, help="Only runs of this stage; may be given again.")
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag, and with each that is given.")
@click.option("-n", "--last", "limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many rows.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(
    names: tuple[str, ...],
    states: tuple[str, ...],
    stages: tuple[str, ...],
    tags: tuple[str, ...],
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the queue: running runs first, then what waits and why, then what ended, the newest first."""
    from repro.scheduler.queue import listing, lookup
    from repro.stages.errors import ConfigError
    from repro.tools.queue_access import connect

    if wrong := [state for state in states if state not in listing.STATES]:
        raise ConfigError(f"--state {wrong[0]}: the states are {', '.join(listing.STATES)}")
    db = connect()
    lookup.runs(
        db, named := [name for name in names if not lookup.is_pattern(name)], {"_id": 1}
    )  # refuses what is not there
    only = listing.Only(states, stages, tags, names)
    limit = max(limit, len(named))
    if watch:
        _watch(db, only, limit)
    else:
        _once(db, only, limit, as_json)


def _once(db: "Queue", only: "Only", limit: int, as_json: bool) -> None:
    from repro.scheduler.queue import listing, workers
    from repro.scheduler.server.connection import server_time
    from repro.views.tables import dump, table

    found = listing.newest(db, only, limit)
    reasons, counts = listing.why_waiting(db, found), listing.counts(db)
    if as_json:
        told = [run | {"why": reasons.get(run["_id"])} for run in found]
        dump({"counts": counts, "shared_cards": workers.sharing(db), "runs": told})
        return
    if found:
        table(COLUMNS, _rows(db, found, reasons, server_time(db)), _paint, EXPENDABLE)
    click.echo(_summary(counts), err=bool(found))
    for line in _warnings(db):
        click.echo(line, err=True)


def _watch(db: "Queue", only: "Only", limit: int) -> None:
    """Drawn over itself line by line: nothing is cleared in between, so nothing flickers."""
    import sys
    import time

    from rich.live import Live

    from repro.stages.errors import ConfigError

    if not sys.stdout.isatty():
        raise ConfigError("--watch: needs a terminal; in a pipe ask for --json now and then")
    with Live(_screen(db, only, limit), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            time.sleep(REFRESH)
            live.update(_screen(db, only, limit), refresh=True)


def _screen(db: "Queue", only: "Only", limit: int) -> "RenderableType":
    from rich.console import Console, Group

    from repro.scheduler.queue import listing
    from repro.scheduler.server.connection import server_time
    from repro.views.tables import grid

    found, now = listing.newest(db, only, limit), server_time(db)
    rows = _rows(db, found, listing.why_waiting(db, found), now)
    told = f"{_summary(listing.counts(db))}   {now:%H:%M:%S} UTC, Ctrl-C leaves"
    return Group(told, *_warnings(db), "", grid(COLUMNS, rows, Console().width, _paint, EXPENDABLE))


def _warnings(db: "Queue") -> list[str]:
    from repro.scheduler.queue import workers
    from repro.scheduler.queue.workers import describe_sharing

    return [f"warning: {describe_sharing(shared)}"] if (shared := workers.sharing(db)) else []


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items()) or "the queue is empty"


def _rows(db: "Queue", runs: "Sequence[RunDocument]", reasons: dict[str, str], now: "datetime") -> list[list[str]]:
    from repro.scheduler.queue import workers

    busy = any("cards" in run for run in runs)
    alive = {worker["_id"]: worker for worker in workers.live(db)} if busy else {}
    return [_row(run, alive, reasons, now) for run in runs]


def _row(run: "RunDocument", workers: dict[str, Any], reasons: dict[str, str], now: "datetime") -> list[str]:
    from repro.views.tables import duration, load, speed

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
    from repro.views.tables import duration

    progress = run.get("progress")
    if not progress or not progress["step"] or not run.get("started_at"):
        return ""
    passed = (now - run["started_at"]).total_seconds()
    return duration(passed * max(0, progress["total"] - progress["step"]) / progress["step"])


def _paint(column: str, cell: str) -> Any:
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

"""`repro status`: the queue at a glance."""

from datetime import datetime
from typing import Any

import click

COLUMNS = ("NAME", "STAGE", "STATE", "SOURCE", "WORKER", "PROGRESS", "TRIES", "AGE", "WHAT")


@click.command(epilog="Example: repro status model --json")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--state", "states", multiple=True, help="Only runs in this state; may be given again.")
@click.option("-n", "--last", "limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(names: tuple[str, ...], states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show the queue: running runs first, then what waits and why, then what ended, the newest first."""
    from repro.display import dump, table
    from repro.session import connect
    from scheduler import queries
    from scheduler.mongo import server_time
    from stages.errors import ConfigError

    if wrong := [state for state in states if state not in queries.STATES]:
        raise ConfigError(f"--state {wrong[0]}: the states are {', '.join(queries.STATES)}")
    db = connect()
    found = queries.runs(db, names) if names else queries.listing(db, states, limit)
    reasons, counts = queries.why_waiting(db, found), queries.counts(db)
    if as_json:
        dump({"counts": counts, "runs": [run | {"why": reasons.get(run["_id"])} for run in found]})
        return
    now = server_time(db)
    if found:
        table(COLUMNS, [_row(run, reasons, now) for run in found])
    click.echo(", ".join(f"{n} {state}" for state, n in counts.items()) or "the queue is empty", err=bool(found))


def _row(run: dict[str, Any], reasons: dict[str, str], now: datetime) -> list[str]:
    from repro.display import duration

    since = run.get("finished_at") or run["submitted_at"]
    return [
        run["_id"],
        run["stage"],
        "held" if run["held"] and run["state"] in ("waiting", "pending") else run["state"],
        ",".join(run["sources"]),
        (run.get("lease") or {}).get("worker", ""),
        _progress(run),
        str(run["attempts"] or ""),
        duration((now - since).total_seconds()),
        reasons.get(run["_id"]) or _result(run),
    ]


def _progress(run: dict[str, Any]) -> str:
    progress = run.get("progress")
    return f"{progress['step']}/{progress['total']}" if progress else ""


def _result(run: dict[str, Any]) -> str:
    """The one-line reason of a failure, or the first figures of a result."""
    if error := run.get("error"):
        return f"{error['type']}: {error['message']}".splitlines()[0][:100]
    metrics = run.get("metrics") or {}
    return "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3])

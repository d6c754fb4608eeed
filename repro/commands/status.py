"""`repro status`: the queue at a glance."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rich.console import RenderableType

    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

REFRESH = 1.0  # seconds
MANY = 5  # times as many rows are read as are shown: a search with all of its runs takes the room of a few


@click.command(epilog="Example: repro status 'model*' --state failed --state running -n 50 --watch")
@click.argument("names", metavar="[NAME|PATTERN]...", nargs=-1, shell_complete=completion.runs)
@click.option("--state", "states", multiple=True, shell_complete=completion.states,
              help="Show only runs in this state; may be given again.")  # fmt: skip
@click.option("--stage", "stages", multiple=True, help="Show only runs of this stage; may be given again.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="Show only runs with this tag; if it is given again, runs with all of the tags.",
)
@click.option(
    "--where",
    metavar="CONDITION",
    multiple=True,
    help="Show only runs for which this holds, such as 'lr>1e-3', 'arch in resnet,baseline', 'clip exists' or "
    "'metrics.accuracy>=0.9'; if it is given again, runs for which all hold.",
)
@click.option(
    "--sort",
    metavar="KEY",
    default="",
    help="Sort by a key, metrics.NAME, params.KEY, name, submitted or finished; with -KEY the largest comes first. "
    "By a key or a figure it shows done runs, unless --state says otherwise, and no run without it.",
)
@click.option(
    "-n",
    "--last",
    "limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Show at most this many rows.",
)
@click.option("--watch", is_flag=True, help="Show the table again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(
    names: tuple[str, ...],
    states: tuple[str, ...],
    stages: tuple[str, ...],
    tags: tuple[str, ...],
    where: tuple[str, ...],
    sort: str,
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the queue: first the runs that are running, then those that wait and why, then those that have ended, the
    newest first.

    A KEY in --where and --sort is a key of the config; params.KEY is the value that the run used, a default too.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.lists import filters, key_hints, listing, pages
    from repro.scheduler.queue import lookup

    listing.check_states(states, "--state")
    db = connect()
    lookup.runs(
        db, named := [name for name in names if not lookup.is_pattern(name)], {"_id": 1}
    )  # refuses what is not there
    only = listing.Only(states, stages, tags, names, [filters.parse(text) for text in where])
    keys = filters.keys(only.where, sort)
    limit = max(limit, len(named))

    def read() -> "Sequence[RunDocument]":
        if where or sort:
            return pages.page(db, only, sort, limit=limit).rows
        first = listing.newest(db, only, limit)
        if any(vars(only).values()) or not any("search" in run for run in first):
            return first
        return listing.grouped(db, listing.newest(db, only, limit * MANY), limit)

    if watch:
        _watch(db, read, keys)
        return
    listed = read()
    _once(db, listed, keys, as_json)
    for line in key_hints.unknown(db, keys) if not listed else ():
        click.echo(f"warning: {line}", err=True)


def _once(db: "Queue", listed: "Sequence[RunDocument]", keys: "Sequence[str]", as_json: bool) -> None:
    from repro.scheduler.lists import listing
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import server_time
    from repro.views import status_table
    from repro.views.tables import dump, table

    reasons, counts = listing.why_waiting(db, listed), listing.counts(db)
    if as_json:
        explained = [run | {"why": reasons.get(run["_id"])} for run in listed]
        dump({"counts": counts, "shared_cards": workers.sharing(db), "runs": explained})
        return
    if listed:
        rows = _rows(db, listed, reasons, keys, server_time(db))
        table(status_table.columns(keys), rows, status_table.paint, status_table.EXPENDABLE)
    click.echo(status_table.summary(counts), err=bool(listed))
    for line in _warnings(db):
        click.echo(line, err=True)


def _watch(db: "Queue", read: "Callable[[], Sequence[RunDocument]]", keys: "Sequence[str]") -> None:
    """Drawn over itself line by line: nothing is cleared in between, so nothing flickers."""
    import time

    from rich.live import Live

    from repro.stages.errors import ConfigError

    if not sys.stdout.isatty():
        raise ConfigError("--watch: needs a terminal; in a pipe ask for --json now and then")
    with Live(_screen(db, read(), keys), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            time.sleep(REFRESH)
            live.update(_screen(db, read(), keys), refresh=True)


def _screen(db: "Queue", listed: "Sequence[RunDocument]", keys: "Sequence[str]") -> "RenderableType":
    from rich.console import Console, Group

    from repro.scheduler.lists import listing
    from repro.scheduler.server.connection import server_time
    from repro.views import status_table
    from repro.views.tables import grid

    now = server_time(db)
    rows = _rows(db, listed, listing.why_waiting(db, listed), keys, now)
    heading = f"{status_table.summary(listing.counts(db))}   {now:%H:%M:%S} UTC, Ctrl-C leaves"
    shown = grid(status_table.columns(keys), rows, Console().width, status_table.paint, status_table.EXPENDABLE)
    return Group(heading, *_warnings(db), "", shown)


def _warnings(db: "Queue") -> list[str]:
    from repro.scheduler.queue import workers
    from repro.scheduler.queue.workers import describe_sharing

    return [f"warning: {describe_sharing(shared)}"] if (shared := workers.sharing(db)) else []


def _rows(
    db: "Queue",
    listed: "Sequence[RunDocument]",
    reasons: dict[str, str],
    keys: "Sequence[str]",
    now: "datetime",
) -> list[list[str]]:
    from repro.scheduler.queue import workers
    from repro.views import status_table

    busy = any("cards" in run for run in listed)
    alive = {worker["_id"]: worker for worker in workers.live(db)} if busy else {}
    return status_table.rows(listed, alive, reasons, now, keys, indented=sys.stdout.isatty())

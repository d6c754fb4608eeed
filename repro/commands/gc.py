"""`repro gc`: what nothing needs."""

from typing import TYPE_CHECKING

import click

from repro.commands.shared.option_types import Number
from repro.stages.plain import LONGEST_TIME

if TYPE_CHECKING:
    from repro.worker.audit.garbage import Leftover


@click.command(epilog="Example: repro gc --older-than 72 --delete")
@click.option("--delete", is_flag=True, help="Remove what is listed; without this option nothing is touched.")
@click.option("--older-than", type=Number(0, LONGEST_TIME), default=24, show_default=True, metavar="HOURS",
              help="List only what has not changed for this many hours.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(delete: bool, older_than: float, as_json: bool) -> None:
    """List attempts, work folders and checkpoints that no run and no result needs. With --delete, remove them."""
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump, table
    from repro.worker.audit.garbage import Collector
    from repro.worker.store import identity
    from repro.worker.store.store import Store

    settings = Settings.read()
    db = connect(settings)
    store, known = Store.open(settings.store, settings.home), workers.check_store(db, settings.store) or {}
    whose = identity.of(store, workers.queue_id(db), known.get("id"))
    collector = Collector(db, store, settings.home, older_than * 3600, whose.sole)
    leftovers = collector.plan()
    removed = {leftover.location for leftover in collector.delete(leftovers)} if delete else set[str]()
    if as_json:
        dump([vars(leftover) | {"removed": leftover.location in removed} for leftover in leftovers])
    elif leftovers:
        table(("FOLDER", "BYTES", "AGE", "WHAT", "WHY"), [_row(f, f.location in removed, delete) for f in leftovers])
    click.echo(_summary(leftovers, removed, delete), err=True)


def _row(leftover: "Leftover", removed: bool, delete: bool) -> list[str]:
    from repro.views.tables import duration, place

    what = "removed" if removed else "kept" if leftover.kept or delete else "dead" if leftover.checkpoint else "orphan"
    return [place(leftover.location), str(leftover.size), duration(leftover.age), what, leftover.why]


def _summary(leftovers: "list[Leftover]", removed: set[str], delete: bool) -> str:
    gone = [leftover for leftover in leftovers if (leftover.location in removed if delete else not leftover.kept)]
    amount = f"{len(gone)} folders, {sum(leftover.size for leftover in gone)} bytes"
    if delete:
        return f"{amount} removed, {len(leftovers) - len(gone)} kept"
    return f"{amount} that nothing needs" + ("; repro gc --delete removes them" if gone else "")

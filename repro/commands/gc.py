"""`repro gc`: what nothing needs."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from repro.worker.audit.garbage import Leftover


@click.command(epilog="Example: repro gc --older-than 72 --delete")
@click.option("--delete", is_flag=True, help="Remove it; without this nothing is touched.")
@click.option("--older-than", type=click.FloatRange(min=0), default=24, show_default=True, metavar="HOURS",
              help="Only what has not changed for so long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gc(delete: bool, older_than: float, as_json: bool) -> None:
    """List attempts, work folders and checkpoints that no run and no result needs; with --delete, remove them."""
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump, table
    from repro.worker.audit.garbage import Collector
    from repro.worker.store.store import Store

    settings = Settings.read()
    db = connect(settings)
    workers.check_store(db, settings.store)
    collector = Collector(db, Store.open(settings.store, settings.home), settings.home, older_than * 3600)
    found = collector.plan()
    removed = {leftover.location for leftover in collector.delete(found)} if delete else set[str]()
    if as_json:
        dump([vars(leftover) | {"removed": leftover.location in removed} for leftover in found])
    elif found:
        table(("FOLDER", "BYTES", "AGE", "WHAT", "WHY"), [_row(f, f.location in removed, delete) for f in found])
    click.echo(_summary(found, removed, delete), err=True)


def _row(leftover: "Leftover", removed: bool, delete: bool) -> list[str]:
    from repro.views.tables import duration, place

    what = "removed" if removed else "kept" if leftover.kept or delete else "dead" if leftover.checkpoint else "orphan"
    return [place(leftover.location), str(leftover.size), duration(leftover.age), what, leftover.why]


def _summary(found: "list[Leftover]", removed: set[str], delete: bool) -> str:
    gone = [leftover for leftover in found if (leftover.location in removed if delete else not leftover.kept)]
    told = f"{len(gone)} folders, {sum(leftover.size for leftover in gone)} bytes"
    if delete:
        return f"{told} removed, {len(found) - len(gone)} kept"
    return f"{told} that nothing needs" + ("; repro gc --delete removes them" if gone else "")

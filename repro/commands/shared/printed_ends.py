"""Waiting with a line for each run that ends: what `repro wait` does, and `repro submit --wait`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue


def print_ends(db: "Queue", names: Sequence[str], timeout: float | None = None) -> None:
    """Wait until the runs have ended, and print each one's end as it comes.

    Raises:
        RunFailed: one of them did not end well, can never start, or did not end in time.
    """
    from repro.readers.run_ends import as_they_end

    for run in as_they_end(db, names, timeout):
        click.echo(_line(run))
        if run.get("unread"):
            click.echo(f"warning: {run['_id']}: never read: {', '.join(run['unread'])}; see repro show", err=True)


def _line(run: "RunDocument") -> str:
    from repro.views.tables import place

    why = (run.get("error") or {}).get("message") or place(run.get("location") or "")
    if run["state"] == "waiting":
        why = "can never start: a source of it failed or was cancelled"
    return f"{run['_id']}: {run['state']}" + (f" ({why})" if why else "")

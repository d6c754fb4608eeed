"""`repro wait`: until runs have ended."""

import time
from typing import TYPE_CHECKING, Any

import click

from repro.tools import completion

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument

POLL = 0.3  # seconds


@click.command(epilog="Example: repro wait model evaluate")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up after so long, with exit code 1.")
def wait(names: tuple[str, ...], timeout: float | None) -> None:
    """Wait until these runs have ended; exit 1 if one of them failed or was cancelled."""
    from repro.tools.queue_access import connect

    wait_for(connect(), list(names), timeout)


def wait_for(db: Any, names: list[str], timeout: float | None = None, quiet: bool = False) -> None:
    """Wait; say each run's end as it comes.

    Raises:
        RunFailed: one of them did not end well, can never start, or did not end in time.
    """
    from repro.scheduler.queue import lineage, lookup
    from repro.stages.errors import RunFailed

    lookup.runs(db, names)  # refuses names that do not exist
    give_up = time.monotonic() + timeout if timeout is not None else None
    waiting, bad = list(names), []
    while waiting:
        still = lookup.unfinished(db, waiting) | lineage.blocked(db, waiting)
        for name in [name for name in waiting if still.get(name) not in ("waiting", "pending", "running")]:
            waiting.remove(name)
            bad += [] if _ended_well(lookup.run(db, name), quiet) else [name]
        if give_up is not None and time.monotonic() > give_up and waiting:
            raise RunFailed(f"still not ended after {timeout:g} s: {', '.join(waiting)}")
        if waiting:
            time.sleep(POLL)
    if bad:
        raise RunFailed(f"did not end well: {', '.join(bad)}; see repro show {bad[0]}")


def _ended_well(run: "RunDocument", quiet: bool) -> bool:
    from repro.views.tables import place

    if not quiet:
        why = (run.get("error") or {}).get("message") or place(run.get("location") or "")
        if run["state"] == "waiting":
            why = "can never start: a source of it failed or was cancelled"
        click.echo(f"{run['_id']}: {run['state']}" + (f" ({why})" if why else ""))
    return run["state"] in ("done", "verified")

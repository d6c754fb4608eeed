"""`repro retry`: failed and cancelled runs go back into the queue."""

from functools import cache
from typing import TYPE_CHECKING

import click

from repro.commands.shared.change_runs import change_runs, takes_names

if TYPE_CHECKING:
    from repro.scheduler.lists.changes import Verb
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue


@click.command(epilog="Example: repro retry model evaluate")
@takes_names
@click.option(
    "--code", "with_code", is_flag=True, help="Compute them with your code of today, not that of their submit."
)
def retry(names: tuple[str, ...], with_code: bool, as_json: bool) -> int:
    """Put failed or cancelled runs back into the queue. Their attempts are counted from 0 again; the history stays.

    They are computed by the code that they were submitted with.
    """
    from repro.scheduler.lists import changes

    return change_runs(_with_todays_code() if with_code else changes.RETRY, names, as_json)


def _with_todays_code() -> "Verb":
    from dataclasses import replace

    from repro.readers.shipping import shipper
    from repro.scheduler import runs
    from repro.scheduler.lists import changes
    from repro.scheduler.queue import lookup
    from repro.scheduler.search.search_config import STAGE as SEARCH
    from repro.stages.source import registry

    ship_of = cache(shipper)  # one for all names: it opens the store

    def change(db: "Queue", name: str, by: str = "") -> "RunDocument | None":
        run = lookup.run(db, name)
        if run["stage"] == SEARCH:
            return runs.retry(db, name, by)  # what it will ask for has the code of its submit
        registry.check(run["config"], name, run.get("allow_unknown", ()))
        return runs.retry(db, name, by, dict(ship_of(db)(run["stage"])))

    return replace(changes.RETRY, change=change)

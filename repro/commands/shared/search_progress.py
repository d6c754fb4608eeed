"""Following a search: for `repro search`, and for commands that make one."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

POLL = 0.5  # seconds


def follow(db: "Queue", name: str, quiet: bool) -> None:
    """A line whenever it has come further, until it has ended, or can't go on for its sources have failed."""
    from repro.pages import searches as page

    told = ""
    while (view := page.progress(db, name))["state"] == "waiting" and not view["blocked"]:
        if not quiet and view["why"] != told:
            told = view["why"]
            click.echo(f"{name}: {told}", err=True)
        time.sleep(POLL)

"""`repro doctor`: is all as it should be, and if not, what to do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from repro.scheduler.queue.doctor_report import Check

COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}


@click.command(epilog="Example: repro doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check MongoDB, the store, GPUs, disk and code, one line each; leaves nothing behind.

    Ends with 0 if nothing is an error, 1 if something is, 3 if MongoDB can't be reached.
    """
    from dataclasses import asdict

    from repro.scheduler.queue import doctor_mongodb, doctor_report
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump
    from repro.worker.audit.doctor_machine import machine

    settings = Settings.read()
    try:
        db = connect(settings)
    except Exception as error:
        found, code = [doctor_report.failed("MongoDB", error)], 3
    else:
        with db.client:
            found, code = doctor_mongodb.queue(db, settings.store), 0
    found += machine(settings)
    if as_json:
        dump([asdict(check) for check in found])
    else:
        _show(found)
    return code or int(any(check.state == "error" for check in found))


def _show(found: "Sequence[Check]") -> None:
    """A table in colours on a terminal, plain lines elsewhere; how many of what on stderr."""
    import sys

    if sys.stdout.isatty():
        _table(found)
    else:
        for check in found:
            advice = f" -> {check.advice}" if check.advice else ""
            click.echo(f"{check.state:<8} {check.name}: {check.found}{advice}")
    counts = {state: sum(check.state == state for check in found) for state in COLOURS}
    told = (f"{n} {state}{'s' * (state != 'ok' and n > 1)}" for state, n in counts.items() if n)
    click.echo(", ".join(told), err=True)


def _table(found: "Sequence[Check]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("CHECK", "STATE", "FOUND", "WHAT TO DO", box=None, pad_edge=False, header_style="bold")
    for check in found:
        colour = COLOURS[check.state]
        table.add_row(check.name, f"[{colour}]{check.state}[/]", escape(check.found), escape(check.advice))
    Console().print(table)

"""What `repro doctor` has checked: a table on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from repro.scheduler.queue.doctor_report import Check

COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}


def show(checks: "Sequence[Check]") -> None:
    """A table in colours on a terminal, plain lines elsewhere; how many of what on stderr."""
    if sys.stdout.isatty():
        _table(checks)
    else:
        for check in checks:
            advice = f" -> {check.advice}" if check.advice else ""
            click.echo(f"{check.state:<8} {check.name}: {check.found}{advice}")
    counts = {state: sum(check.state == state for check in checks) for state in COLOURS}
    totals = (f"{n} {state}{'s' * (state != 'ok' and n > 1)}" for state, n in counts.items() if n)
    click.echo(", ".join(totals), err=True)


def _table(checks: "Sequence[Check]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("CHECK", "STATE", "FOUND", "WHAT TO DO", box=None, pad_edge=False, header_style="bold")
    for check in checks:
        colour = COLOURS[check.state]
        table.add_row(check.name, f"[{colour}]{check.state}[/]", escape(check.found), escape(check.advice))
    Console().print(table)

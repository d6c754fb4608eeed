"""`repro wait`: until runs have ended."""

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import Number
from repro.stages.plain import LONGEST_TIME


@click.command(epilog="Example: repro wait model evaluate")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option(
    "--timeout", type=Number(0, LONGEST_TIME), metavar="SECONDS", help="Stop waiting after this time, with exit code 1."
)
def wait(names: tuple[str, ...], timeout: float | None) -> None:
    """Wait until these runs have ended. Exit with 1 if one of them failed or was cancelled."""
    from repro.commands.shared.printed_ends import print_ends
    from repro.readers.queue_access import connect

    print_ends(connect(), names, timeout)

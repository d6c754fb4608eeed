"""`repro priority`: change which runs come first."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names
from repro.commands.shared.option_types import INT32


@click.command(
    epilog="Example: repro priority 10 model evaluate",
    context_settings={"ignore_unknown_options": True},  # a negative number is no option
)
@click.argument("number", type=INT32)
@takes_names
def priority(number: int, names: tuple[str, ...], as_json: bool) -> int:
    """Give runs that wait or are pending another priority. Of the runs that fit a worker, the one with the highest
    number is claimed first."""
    from repro.scheduler.lists import changes

    return change_runs(changes.priority(number), names, as_json)

"""`repro hold`: keep runs from being claimed."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names


@click.command(epilog="Example: repro hold model evaluate")
@takes_names
def hold(names: tuple[str, ...], as_json: bool) -> int:
    """Keep runs that wait or are pending from being claimed until `repro unhold`."""
    from repro.scheduler.lists import changes

    return change_runs(changes.HOLD, names, as_json)

"""`repro unhold`: let held runs be claimed again."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names


@click.command(epilog="Example: repro unhold model evaluate")
@takes_names
def unhold(names: tuple[str, ...], as_json: bool) -> int:
    """Let held runs be claimed again."""
    from repro.scheduler.lists import changes

    return change_runs(changes.UNHOLD, names, as_json)

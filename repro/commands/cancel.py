"""`repro cancel`: end runs that have not ended."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names


@click.command(epilog="Example: repro cancel model --source-and-children")
@takes_names
@click.option(
    "--source-and-children",
    "chain",
    is_flag=True,
    help="Also cancel all sources that the runs need and all runs that need them.",
)
def cancel(names: tuple[str, ...], as_json: bool, chain: bool) -> int:
    """Cancel runs. A run that waits will not start; a run that is running is stopped within one heartbeat."""
    from repro.scheduler.lists import changes

    return change_runs(changes.CANCEL, names, as_json, chain)

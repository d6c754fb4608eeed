"""`repro cancel`: end runs that have not ended."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names


@click.command(epilog="Example: repro cancel model --source-and-children")
@takes_names
@click.option(
    "--source-and-children", "chain", is_flag=True, help="Also all sources up the line and all children down the line."
)
def cancel(names: tuple[str, ...], as_json: bool, chain: bool) -> int:
    """Cancel runs: one that waits will not start, one that runs is stopped within a heartbeat."""
    from repro.scheduler import runs

    return change_runs(runs.cancel, runs.LIVE, "cancelled", names, as_json, chain)

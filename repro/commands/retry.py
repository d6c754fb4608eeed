"""`repro retry`: failed and cancelled runs go back into the queue."""

import click

from repro.commands.shared.change_runs import change_runs, takes_names


@click.command(epilog="Example: repro retry model evaluate")
@takes_names
def retry(names: tuple[str, ...], as_json: bool) -> int:
    """Put failed or cancelled runs back into the queue. Their attempts are counted from 0 again; the history stays."""
    from repro.scheduler import runs

    return change_runs(runs.retry, runs.RETRIABLE, "retried", names, as_json)

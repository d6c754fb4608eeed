"""`repro drain`: workers finish what they run and leave."""

import click


@click.command(epilog="Example: repro drain gpu-box-1:4711")
@click.argument("workers", metavar="WORKER...", nargs=-1, required=True)
def drain(workers: tuple[str, ...]) -> None:
    """Ask workers to claim no more runs, to finish what they run, and to leave. They get the request with their next
    heartbeat."""
    from repro.readers.queue_access import connect
    from repro.scheduler.queue.workers import drain as ask_to_drain

    ask_to_drain(connect(), workers)
    for worker in workers:
        click.echo(f"{worker}: drains")

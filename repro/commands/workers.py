"""`repro workers`: who works, and what each has."""

import click


@click.command(epilog="Example: repro workers --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def workers(as_json: bool) -> None:
    """Show the live workers: their cards and places, labels, versions, the code that they have themselves, and what
    they lack for runs that wait."""
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import workers as of_the_queue
    from repro.scheduler.server.connection import server_time
    from repro.views import worker_table
    from repro.views.tables import dump, table

    db = connect()
    alive, now = sorted(of_the_queue.live(db), key=lambda worker: str(worker["_id"])), server_time(db)
    if as_json:
        dump([worker_table.facts(worker, now) for worker in alive])
        return
    if alive:
        table(worker_table.COLUMNS, [worker_table.row(worker, now) for worker in alive], None, worker_table.EXPENDABLE)
    else:
        click.echo("no worker is alive", err=True)

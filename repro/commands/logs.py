"""`repro logs`: what a run has printed."""

import sys

import click


@click.command(epilog="Example: repro logs -f model")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as it prints, until it ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Begin with so many of the last lines.")
def logs(name: str, follow: bool, lines: int | None) -> int:
    """Print a run's log: of a running one as far as its worker has told, of an ended one from its folder.

    Exit code 1: with --follow, the run did not end well.
    """
    from repro.follow import Follower
    from repro.session import connect
    from scheduler import queries
    from scheduler.settings import Settings
    from worker.storage import Store

    settings, db = Settings.read(), connect()
    follower = Follower(db, lambda: Store.open(settings.store, settings.home), lines)
    run = queries.run(db, name)
    for text in follower.texts(run, follow):
        sys.stdout.write(text)
        sys.stdout.flush()
    state = queries.run(db, name)["state"]
    return 1 if follow and state in ("failed", "cancelled") else 0

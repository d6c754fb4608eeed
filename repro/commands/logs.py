"""`repro logs`: what a run has printed."""

import sys
from collections.abc import Iterable, Iterator

import click

from repro.commands.shared import completion


@click.command(epilog="Example: repro logs -f model")
@click.argument("name", shell_complete=completion.runs)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the run ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Print only this many of the last lines at first.")
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="N",
    help="Print the log of attempt number N instead of the last one.",
)
@click.option("--raw", is_flag=True, help="Print every byte as it was printed, with each state of a progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON.")
def logs(name: str, follow: bool, lines: int | None, attempt: int | None, raw: bool, as_json: bool) -> int:
    """Print a run's log. For a running run it is what its worker has sent so far; for an ended run it is in its folder.

    Colours are kept. For a progress bar that redraws its line, only the last state is printed.

    With --follow, the exit code is 1 if the run did not end well.
    """
    from repro.readers.log_reader import Follower
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import lookup
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump
    from repro.worker.store.store import Store

    if follow and (attempt or as_json):
        raise click.UsageError("-f goes with neither --attempt nor --json")
    settings, db = Settings.read(), connect()
    follower = Follower(db, lambda: Store.open(settings.store, settings.home), lines)
    run = lookup.run(db, name)
    raw = raw or (follow and sys.stdout.isatty())  # a terminal collapses by itself, and shows a bar as it moves
    texts = [follower.attempt(run, attempt)] if attempt else follower.texts(run, follow)
    if as_json:
        dump("".join(_lines(texts, raw)).rstrip("\n").split("\n"))
    else:
        for text in _lines(texts, raw):
            sys.stdout.write(text)
            sys.stdout.flush()
    state = lookup.run(db, name)["state"]
    return 1 if follow and state in ("failed", "cancelled") else 0


def _lines(texts: Iterable[str], raw: bool) -> Iterator[str]:
    from repro.views.log_lines import Collapse

    if raw:
        yield from texts
        return
    lines = Collapse()
    for text in texts:
        yield lines.feed(text)
    yield lines.close()

"""`repro submit`: config files -> runs."""

from collections import deque
from pathlib import Path
from typing import Any

import click

from repro.commands.shared import completion


@click.command(epilog="Example: repro submit configs/model.json --set lr=1e-3 --wait")
@click.argument("files", metavar="CONFIG.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--conf", metavar="JSON", help="Merge this JSON object over each config before anything else.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.settings,
    help="Likewise one key; may be given again.",
)
@click.option("--name", help="Name of the run, instead of the file's or the next free letter.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher runs first; not part of the result.")
@click.option("--tag", "tags", multiple=True, help="A word to find the run by; may be given again.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Fail past this.")
@click.option("--stall-limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Fail after so long without progress.")  # fmt: skip
@click.option("--max-attempts", type=click.IntRange(min=1), default=3, show_default=True,
              help="Give up after so many attempts that the machine's faults ended.")  # fmt: skip
@click.option("--hold", is_flag=True, help="Insert, but let no worker claim it before `repro unhold`.")
@click.option("--hermetic", is_flag=True, help="Fail if a stage reads what is not declared; else it is recorded.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be inserted, insert nothing.")
@click.option("--wait", is_flag=True, help="Wait for the runs; exit 1 if one of them does not end well.")
@click.option("--allow-unknown", is_flag=True, help="Accept keys that no code of the stage reads.")
@click.option("--again", is_flag=True, help="Compute what a run of another name has computed already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def submit(
    files: tuple[Path, ...],
    conf: str | None,
    settings: tuple[str, ...],
    name: str | None,
    allow_unknown: bool,
    again: bool,
    dry_run: bool,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit configs, and first the sources of theirs that are not in the queue, from the files beside them."""
    from repro.commands.shared.printed_ends import print_ends
    from repro.commands.shared.submit_report import report, report_plan
    from repro.readers.queue_access import connect
    from repro.readers.run_ends import as_they_end
    from repro.scheduler.queue import submission as scheduler

    change = scheduler.Change(conf, settings, name, allow_unknown, again)
    db = connect()
    if dry_run:
        report_plan(scheduler.plan(db, files, change), as_json)
        return
    chosen = {
        "priority": options["priority"],
        "tags": list(options["tags"]),
        "time_limit": options["time_limit"],
        "stall_limit": options["stall_limit"],
        "max_attempts": options["max_attempts"],
        "held": options["hold"],
    } | ({"hermetic": True} if options["hermetic"] else {})
    submitted = scheduler.submit(db, files, change, **chosen)
    report(submitted, as_json)
    if wait:
        names = [run.name for run in submitted]
        if as_json:
            deque(as_they_end(db, names), maxlen=0)
        else:
            print_ends(db, names)

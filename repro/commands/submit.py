"""`repro submit`: config files -> runs."""

from collections import deque
from pathlib import Path
from typing import Any

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT32, Number
from repro.stages.plain import LONGEST_TIME


@click.command(epilog="Example: repro submit configs/model.json --set lr=1e-3 --wait")
@click.argument("files", metavar="CONFIG.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--conf", metavar="JSON", help="Merge this JSON object over each config before anything else.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completion.settings,
    help="Set one key in the same way; may be given again.",
)
@click.option("--name", help="The name of the run, instead of the file's name or the next free letter.")
@click.option(
    "--priority",
    type=INT32,
    default=0,
    show_default=True,
    help="Runs with a higher number are claimed first. It does not change the result.",
)
@click.option("--tag", "tags", multiple=True, help="A word by which the run can be found; may be given again.")
@click.option(
    "--time-limit",
    type=Number(0, LONGEST_TIME, min_open=True),
    metavar="SECONDS",
    help="End the run as failed if it takes longer.",
)
@click.option("--stall-limit", type=Number(0, LONGEST_TIME, min_open=True), metavar="SECONDS",
              help="End the run as failed if it makes no progress for this time.")  # fmt: skip
@click.option("--max-attempts", type=click.IntRange(1, 2**31 - 1), default=3, show_default=True,
              help="Give up after this many attempts that ended by a fault of the machine.")  # fmt: skip
@click.option("--hold", "held", is_flag=True, help="Insert the run, but let no worker claim it before `repro unhold`.")
@click.option(
    "--hermetic", is_flag=True, help="Fail if a stage reads what is not declared. Without this it is only recorded."
)
@click.option("--needs", metavar="DEMAND", multiple=True,
              help="What the machine must have: 'card=*A100*', 'memory>=40GB' of each card, a label such as "
              "site=berlin, a version such as 'torch>=2.6'; may be given again.")  # fmt: skip
@click.option("--same", metavar="PACKAGE", multiple=True,
              help="The machine must have this package in the version that is installed here; may be given "
              "again.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be inserted, but insert nothing.")
@click.option("--wait", is_flag=True, help="Wait for the runs to end. Exit with 1 if one of them does not end well.")
@click.option("--allow-unknown", metavar="KEY", multiple=True,
              help="Accept this key though no code of the stage reads it; may be given again.")  # fmt: skip
@click.option("--here", is_flag=True, help="Do not send your code with the runs: each takes the code that lies where "
              "its worker was started, as it is then.")  # fmt: skip
@click.option("--again", is_flag=True, help="Compute even what a run of another name has computed already.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def submit(
    files: tuple[Path, ...],
    conf: str | None,
    settings: tuple[str, ...],
    name: str | None,
    allow_unknown: tuple[str, ...],
    again: bool,
    here: bool,
    needs: tuple[str, ...],
    same: tuple[str, ...],
    dry_run: bool,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit configs. Sources that are not in the queue yet are submitted first, from the files beside the configs.

    The code of a stage of your own goes into the store with the run, as it is now; later edits do not change the run.
    """
    from repro.commands.shared.printed_ends import print_ends
    from repro.commands.shared.submit_report import report, report_plan
    from repro.readers.queue_access import connect
    from repro.readers.run_ends import as_they_end
    from repro.readers.shipping import shipper
    from repro.scheduler.queue import submission as scheduler

    change = scheduler.Change(conf, settings, name, allow_unknown, again)
    wanted = scheduler.Options(needs=[*needs, *map(scheduler.same_version, same)], **options)
    db = connect()
    if dry_run:
        report_plan(scheduler.plan(db, files, change), as_json)
        return
    submitted = scheduler.submit(db, files, change, wanted, shipper(db, here))
    report(submitted, as_json)
    if wait:
        names = [run.name for run in submitted]
        if as_json:
            deque(as_they_end(db, names), maxlen=0)
        else:
            print_ends(db, names)

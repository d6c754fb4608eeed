"""`repro submit`: config files -> runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.tools import completion

if TYPE_CHECKING:
    from repro.scheduler.queue.submission import Submitted
    from repro.scheduler.runs import RunDocument


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
    from repro.commands.wait import wait_for
    from repro.scheduler.queue import submission as scheduler
    from repro.tools.queue_access import connect

    change = scheduler.Change(conf, settings, name, allow_unknown, again)
    db = connect()
    if dry_run:
        ready = scheduler.plan(db, files, change)
        _show([_line(c.name, _would_be(ready.equal.get(c.name)), c.where) for c in ready.fresh], as_json)
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
        wait_for(db, [s.name for s in submitted], quiet=as_json)


def report(submitted: "Sequence[Submitted]", as_json: bool) -> None:
    _show([_line(s.name, _became(s), s.location) for s in submitted], as_json)
    _tell_of_changes({s.stage for s in submitted if s.new})


def _tell_of_changes(stages: set[str]) -> None:
    from repro.stages.source import provenance, registry

    packages = sorted({registry.package(stage) for stage in stages})
    if changed := [package for package in packages if provenance.code(package).get("dirty")]:
        click.echo(
            f"note: {', '.join(changed)} has changes that are not committed. No result hangs on what git knows of the "
            "code; but who reads one back next year finds these changes only in the code.diff beside it",
            err=True,
        )


def _would_be(equal: "RunDocument | None") -> str:
    return f"would be done at once, equal to {equal['_id']}" if equal else "would be inserted"


def _became(run: "Submitted") -> str:
    if run.same_as:
        return f"submitted, done at once: equal to {run.same_as}; --again computes it"
    return f"{'submitted' if run.new else 'already submitted'}, {run.state}"


def _line(name: str, what: str, where: str | None) -> dict[str, str]:
    return {"name": name, "what": what} | ({"where": where} if where else {})


def _show(lines: list[dict[str, str]], as_json: bool) -> None:
    from repro.views.tables import dump

    if as_json:
        dump(lines)
        return
    for line in lines:
        click.echo(f"{line['name']}: {line['what']}" + (f" ({line['where']})" if "where" in line else ""))
    if not lines:
        click.echo("nothing to insert: all of it is in the queue already")

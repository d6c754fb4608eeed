"""`repro verify`: today's code against what done runs have recorded."""

from typing import TYPE_CHECKING, Any

import click

from repro.commands.shared.option_types import LEVELS, Number

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue


@click.command(epilog="Example: repro verify model --level close")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Verify every done run.")
@click.option("--stage", help="Verify only runs of this stage.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Verify only N of the runs, drawn by chance.")
@click.option("--level", type=click.Choice(LEVELS), help="Exit with 1 if a result is worse than this. "
              "The default is identical, or close if the hardware is not the same.")  # fmt: skip
@click.option(
    "--rtol",
    type=Number(min=0),
    default=1e-3,
    show_default=True,
    help="The relative tolerance of the level close.",
)
@click.option(
    "--atol",
    type=Number(min=0),
    default=1e-5,
    show_default=True,
    help="The absolute tolerance of the level close.",
)
@click.option(
    "--no-wait",
    is_flag=True,
    help="Put the reruns into the queue and do not wait for them. --collect compares them later.",
)
@click.option("--check", is_flag=True, help="Also read every output from the store and compare its SHA-256.")
@click.option("--collect", is_flag=True, help="Start no reruns; compare those that have ended since.")
@click.option(
    "--defaults", is_flag=True, help="Compare today's defaults with those of done runs. This needs no worker."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(names: tuple[str, ...], everything: bool, stage: str | None, as_json: bool, **options: Any) -> int:
    """Run done runs again on today's code and compare: does last year's config still give the same result?

    The reruns go through the ordinary queue, after all other runs, and read the same inputs as before. The verdict is
    kept with the original run, whose result stays as it is. Exit with 1 if a result is worse than --level.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import lookup

    chosen = bool(names or everything or stage or options["sample"])
    if not (chosen or options["defaults"] or options["collect"]):
        raise click.UsageError("which runs? Give names, --stage, --sample N or --all; or see --defaults, --collect")
    if names and everything:
        raise click.UsageError("names or --all, not both")
    db = connect()
    lookup.runs(db, names)  # refuses names that do not exist
    if options["defaults"]:
        return _drifts(db, names, stage, as_json)
    return _rerun(db, names, stage, as_json, **options)


def _drifts(db: "Queue", names: tuple[str, ...], stage: str | None, as_json: bool) -> int:
    from repro.views.tables import dump
    from repro.worker.audit import default_drift

    drifts = default_drift.drifts(db, names, stage)
    if as_json:
        dump([one.as_dict() for one in drifts])
    for one in () if as_json else drifts:
        click.echo(str(one), err=one.harmless)
    bad = sum(not one.harmless for one in drifts)
    click.echo(f"{bad} drifted, {len(drifts) - bad} to note" if drifts else "no default has drifted", err=True)
    return int(bad > 0)


def _rerun(db: "Queue", names: tuple[str, ...], stage: str | None, as_json: bool, **options: Any) -> int:
    from repro.readers.shipping import shipper
    from repro.scheduler.queue import audits, workers
    from repro.scheduler.queue.submission import submitter
    from repro.scheduler.settings import Settings
    from repro.stages.errors import StageError
    from repro.views.tables import dump
    from repro.views.verdict_lines import lines
    from repro.worker.audit import reruns
    from repro.worker.audit.result_comparison import Tolerance
    from repro.worker.store import identity
    from repro.worker.store.store import Store

    settings = Settings.read()
    store = Store.open(settings.store, settings.home)
    identity.check(store, (workers.check_store(db, settings.store) or {}).get("id"))
    damaged: list[str] = []
    if options["collect"]:
        names_of_reruns = audits.reruns_without_verdict(db)
    else:
        chosen = reruns.choose(db, names, stage, options["sample"])
        if options["check"]:
            chosen, damaged = reruns.whole(store, chosen)
        for line in damaged:
            click.echo(line, err=True)
        names_of_reruns = reruns.start(db, store, chosen, submitter(), shipper(db))
    if options["no_wait"]:
        for name in names_of_reruns:
            click.echo(f"{name}: submitted; repro verify --collect compares it when it has ended")
        return int(bool(damaged))
    verdicts, bad = [], len(damaged)
    within = Tolerance(options["rtol"], options["atol"])
    for original, rerun in reruns.follow(db, names_of_reruns, _warn_no_worker):
        if rerun["state"] == "cancelled":
            click.echo(f"{original['_id']}: its rerun was cancelled", err=True)
            bad += 1
            continue
        try:
            verdict = reruns.judge(db, store, original, rerun, within)
        except StageError as error:
            click.echo(f"{original['_id']}: can't be compared: {error}", err=True)
            bad += 1
            continue
        verdicts.append({"name": original["_id"], **verdict})
        bad += reruns.is_verdict_worse(verdict, options["level"])
        for line in () if as_json else lines(original, verdict):
            click.echo(line)
    if as_json:
        dump(verdicts)
    click.echo(f"{len(names_of_reruns) + len(damaged)} verified, {bad} worse than asked for", err=True)
    return int(bad > 0)


def _warn_no_worker() -> None:
    click.echo("no worker is alive: start one with repro worker; waiting", err=True)

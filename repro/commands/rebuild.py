"""`repro rebuild`: the database from the store."""

import click


@click.command(epilog="Example: repro rebuild --dry-run")
@click.option("--dry-run", is_flag=True, help="Only print what would be restored.")
@click.option("--check", "checksums", is_flag=True, help="Also read every output and compare its SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rebuild(dry_run: bool, checksums: bool, as_json: bool) -> int:
    """Restore the document of every run whose complete folder is in the store. Runs that have a document keep it.

    The exit code is 1 if something could not be restored; the reason is printed.
    """
    from repro.scheduler import runs
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump, table
    from repro.worker.audit import store_recovery as rebuilding
    from repro.worker.store import identity
    from repro.worker.store.store import Store

    settings = Settings.read()
    db, store = connect(settings), Store.open(settings.store, settings.home)
    identity.check(store, (workers.check_store(db, settings.store) or {}).get("id"))
    plan = rebuilding.plan(db, store, checksums)
    names = [attempt.name for attempt in plan.restore]
    if not dry_run:
        runs.create_indexes(db)
        workers.fix_store(db, settings.store, store.probe())
        names = rebuilding.restore(db, store, plan)
    done = set(names)
    rows = [(attempt.name, attempt.location) for attempt in plan.restore if attempt.name in done]
    if as_json:
        restored = [{"name": name, "location": location} for name, location in rows]
        remarks = {"existing": plan.existing, "notes": plan.notes, "problems": plan.problems}
        dump({"dry_run": dry_run, "restored": restored} | remarks)
    elif rows:
        table(("NAME", "LOCATION"), rows)
    for line in plan.notes + plan.problems:
        click.echo(line, err=True)
    outcome = "would be restored" if dry_run else "restored"
    click.echo(f"{len(rows)} {outcome}, {len(plan.existing)} have a document, {len(plan.problems)} problems", err=True)
    return 1 if plan.problems else 0

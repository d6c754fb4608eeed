"""`repro doctor`: is all as it should be, and if not, what to do."""

import click


@click.command(epilog="Example: repro doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check MongoDB, the store, GPUs, disk and code, and print one line for each. It leaves nothing behind.

    The exit code is 0 if nothing is an error, 1 if something is, and 3 if MongoDB can't be reached.
    """
    from dataclasses import asdict

    from repro.scheduler.queue import doctor_mongodb, doctor_report
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.views.check_table import show
    from repro.views.tables import dump
    from repro.worker.audit.doctor_machine import machine

    settings = Settings.read()
    try:
        db = connect(settings)
    except Exception as error:
        checks, code = [doctor_report.failed("MongoDB", error)], 3
    else:
        with db.client:
            checks, code = doctor_mongodb.queue(db, settings.store, settings.said_data), 0
    checks += machine(settings)
    if as_json:
        dump([asdict(check) for check in checks])
    else:
        show(checks)
    return code or int(any(check.state == "error" for check in checks))

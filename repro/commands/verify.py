"""`repro verify`: today's code against what done runs have recorded."""

import click


@click.command(epilog="Example: repro verify --defaults")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--defaults", is_flag=True, help="Compare today's defaults with those of done runs; needs no worker.")
@click.option("--stage", help="Only runs of this stage.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(names: tuple[str, ...], defaults: bool, stage: str | None, as_json: bool) -> int:
    """Does last year's config still give the same result? Exit 1 if something drifted."""
    from repro.display import dump
    from repro.session import connect
    from scheduler import drift, queries

    db = connect()
    queries.runs(db, names)  # refuses names that do not exist
    found = drift.drifts(db, names, stage)
    if as_json:
        dump([one.as_dict() for one in found])
    for one in () if as_json else found:
        click.echo(str(one), err=one.harmless)
    bad = sum(not one.harmless for one in found)
    click.echo(f"{bad} drifted, {len(found) - bad} to note" if found else "no default has drifted", err=True)
    return int(bad > 0)

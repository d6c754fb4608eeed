"""`repro diff`: how configs differ."""

import sys

import click

from repro.commands.shared import completion


@click.command(epilog="Example: repro diff modela modelb configs/model.json --metrics --sort -accuracy")
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--metrics", is_flag=True, help="Also the figures of the results.")
@click.option(
    "--keep",
    metavar="KEY",
    shell_complete=completion.keys,
    multiple=True,
    help="Show this key even if it is the same everywhere.",
)
@click.option(
    "--drop", metavar="KEY", shell_complete=completion.keys, multiple=True, help="Do not show this key or metric."
)
@click.option(
    "--sort", metavar="KEY", shell_complete=completion.keys, help="Go by this key or metric; -KEY from the largest."
)
@click.option("--base", metavar="NAME", help="Put this one first; of the others only what differs from it.")
@click.option("--lineage", is_flag=True, help="Also the parameters of the sources, as source.key.")
@click.option("--transpose", is_flag=True, help="A row a key, a column a config.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, as in a pipe.")
@click.option("--md", "form", flag_value="md", help="Print Markdown.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def diff(
    names: tuple[str, ...],
    metrics: bool,
    keep: tuple[str, ...],
    drop: tuple[str, ...],
    sort: str | None,
    base: str | None,
    lineage: bool,
    transpose: bool,
    form: str | None,
) -> None:
    """Show only the parameters in which configs differ, a row a config.

    A NAME is a run of the queue, or a pattern such as 'model*'; a FILE a config, or the folder of a run. Where only
    files are named, no queue is asked.

    What a config does not say is shown as the default that its run used, in grey, and named in the last column of the
    CSV; for a config that has not run, the default of today's code. A cell stays empty where nothing is known.
    """
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.configs import spelling
    from repro.scheduler.configs.comparison import compare
    from repro.views import comparison_table
    from repro.views.tables import dump

    subjects = Reader(connect).subjects(names, lineage)
    found = compare(subjects, keep=keep, drop=drop, metrics=metrics, lineage=lineage, base=base, sort=sort)
    if form == "json":
        dump(comparison_table.as_json(found))
    elif form == "md":
        click.echo(spelling.to_markdown(comparison_table.markdown(found, transpose)), nl=False)
    elif form == "csv" or not sys.stdout.isatty():
        click.echo(spelling.to_csv(comparison_table.plain(found, transpose)), nl=False)
    else:
        comparison_table.show(found, transpose)
    if not found.keys:
        click.echo("no parameter differs", err=True)

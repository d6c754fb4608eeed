"""`repro diff`: how configs differ."""

import sys

import click

from repro.commands.shared import completion


@click.command(epilog="Example: repro diff modela modelb configs/model.json --metrics --sort -accuracy")
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--metrics", is_flag=True, help="Also show the figures of the results.")
@click.option(
    "--keep",
    metavar="KEY",
    shell_complete=completion.keys,
    multiple=True,
    help="Show this key even if its value is the same in all configs; may be given again.",
)
@click.option(
    "--drop",
    metavar="KEY",
    shell_complete=completion.keys,
    multiple=True,
    help="Do not show this key or metric; may be given again.",
)
@click.option(
    "--sort",
    metavar="KEY",
    shell_complete=completion.keys,
    help="Sort the rows by this key or metric; with -KEY the largest comes first.",
)
@click.option("--base", metavar="NAME", help="Put this config first, and show of the others only what differs from it.")
@click.option("--lineage", is_flag=True, help="Also show the parameters of the sources, as source.key.")
@click.option("--transpose", is_flag=True, help="Show one row for each key and one column for each config.")
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
    """Show only the parameters in which configs differ, one row for each config.

    A NAME is a run of the queue, or a pattern such as 'model*'. A FILE is a config, or the folder of a run. If only
    files are named, the queue is not asked.

    For a key that a config does not have, the default that its run used is shown in grey; the last column of the CSV
    names these keys. For a config that has not run, it is the default of today's code. A cell stays empty if nothing is
    known.
    """
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.configs import spelling
    from repro.scheduler.configs.comparison import compare
    from repro.views import comparison_table
    from repro.views.tables import dump

    subjects = Reader(connect).subjects(names, lineage)
    comparison = compare(subjects, keep=keep, drop=drop, metrics=metrics, lineage=lineage, base=base, sort=sort)
    if form == "json":
        dump(comparison_table.as_json(comparison))
    elif form == "md":
        click.echo(spelling.to_markdown(comparison_table.markdown(comparison, transpose)), nl=False)
    elif form == "csv" or not sys.stdout.isatty():
        click.echo(spelling.to_csv(comparison_table.plain(comparison, transpose)), nl=False)
    else:
        comparison_table.show(comparison, transpose)
    if not comparison.keys:
        click.echo("no parameter differs", err=True)

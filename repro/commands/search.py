"""`repro search`: submit a search, follow it, show its table."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT32

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue


@click.command(epilog="Example: repro search configs/digits.json")
@click.argument("word", metavar="CONFIG.json|NAME", shell_complete=completion.runs_or_files)
@click.option("--priority", type=INT32, default=0, show_default=True, help="Of the search's runs, as in repro submit.")
@click.option("--tag", "tags", multiple=True, help="A word by which they can be found; may be given again.")
@click.option("--no-wait", is_flag=True, help="Only submit, and show how far it is.")
@click.option("--check", is_flag=True, help="Propose every trial again from the results: exit with 1 if one would be "
              "another today.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw the search into this new file: its "
              "history, what each parameter does, and how much it matters.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(
    word: str, priority: int, tags: tuple[str, ...], no_wait: bool, check: bool, output: Path | None, as_json: bool
) -> int:
    """Look for the best config. Workers must be running; any number of them gives the same trials and the same winner.

    A config of stage "search" says what is searched (docs/search.md). A search that is under way, or over, is named.
    Interrupting this command stops nothing: the search goes on, and the same command shows it again.
    """
    from repro.commands.shared import search_progress
    from repro.pages import searches as page
    from repro.readers.queue_access import connect
    from repro.views import figure_file, search_plot, search_table
    from repro.views.tables import dump, table

    if output:
        figure_file.check_name(output)
    db = connect()
    name = _submitted(db, Path(word), priority, tags) if word.endswith(".json") else page.of_name(db, word)["_id"]
    if check:
        return _check(db, name, as_json)
    if not no_wait:
        search_progress.follow(db, name, quiet=as_json)
    view = page.view(db, name)
    if output:
        history = page.history(view)
        figure_file.save(lambda figure: search_plot.draw(figure, view, history), output, search_plot.size(view))
    if as_json:
        dump(view)
    else:
        table(search_table.columns(view), search_table.rows(view))
        click.echo(search_table.summary(view), err=True)
        if output:
            click.echo(str(output))
    return 0 if no_wait or view["state"] == "done" else 1


def _submitted(db: "Queue", path: Path, priority: int, tags: tuple[str, ...]) -> str:
    from repro.readers.shipping import shipper
    from repro.scheduler.queue import submission
    from repro.scheduler.search import search_config
    from repro.stages import config as configs

    search_config.parse(configs.load(path), str(path))
    options = submission.Options(priority=priority, tags=tags)
    return submission.submit(db, [path], None, options, shipper(db))[-1].name


def _check(db: "Queue", name: str, as_json: bool) -> int:
    from repro.pages import searches as page
    from repro.views.tables import dump

    changed = page.differences(db, name)
    if as_json:
        dump({"name": name, "changed": changed})
    else:
        said = f"would be others today: {', '.join(changed)}" if changed else "each trial is proposed again as it was"
        click.echo(f"{name}: {said}")
    return 1 if changed else 0

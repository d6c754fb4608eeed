"""`repro show`: all about a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument


@click.command(epilog="Example: repro show model, or, for a folder from the store: repro show ./model-1a2b3c4d")
@click.argument("names", metavar="NAME|PATH...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the documents as JSON.")
def show(names: tuple[str, ...], as_json: bool) -> None:
    """Show runs: the config with the defaults that were used, the result or the error, and the sources of each.

    A PATH (with a slash, or a dot in front) is a folder with a repro-run.json. It can be shown without any queue.
    """
    from repro.readers import raw_files, run_folders
    from repro.scheduler.settings import Settings
    from repro.views import run_details
    from repro.views.tables import dump
    from repro.worker.store.store import Store

    settings = Settings.read()

    def stored(run: Mapping[str, Any]) -> dict[str, Any]:
        return raw_files.raw_files(lambda: Store.open(settings.store, settings.home), run)

    queued = _in_the_queue([name for name in names if not _is_path(name)])
    shown = [run_folders.with_sources(_folder(name)) if _is_path(name) else queued[name] for name in names]
    if as_json:
        dump([run for run, _ in shown])
        return
    for name, (run, line) in zip(names, shown, strict=True):
        for text in run_details.lines(run, line, raw_files.of_folder if _is_path(name) else stored):
            click.echo(text)


def _is_path(name: str) -> bool:
    """No run is called like that; a rerun's name alone has a dot."""
    return "/" in name or name.startswith(".") or name.endswith(".json")


def _folder(name: str) -> Path:
    path = Path(name)
    return path.parent if path.is_file() else path


def _in_the_queue(names: list[str]) -> "dict[str, tuple[RunDocument, dict[str, RunDocument]]]":
    """Name -> the run, and those that it comes from."""
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import lineage, lookup

    if not names:
        return {}
    db = connect()
    return {run["_id"]: (run, lineage.ancestors(db, run)) for run in lookup.runs(db, names)}

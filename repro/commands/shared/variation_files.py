"""Where clones and children come from and go to: the original's config, and the letters that are taken."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.readers.queue_access import connect, has_queue

if TYPE_CHECKING:
    from repro.scheduler.queue.submission import Submitted
    from repro.scheduler.server.connection import Queue
    from repro.stages.config import Config

FOLDER = Path("configs")


def original(word: str, folder: Path | None) -> "tuple[str, Config, Path]":
    """Name, config, and the folder for its variations: of a file, of one in `configs/`, else of a run of the queue.

    Raises:
        ReproError: there is none.
    """
    from repro.scheduler.queue import lookup
    from repro.stages import config as configs

    path = Path(word) if word.endswith(".json") else (folder or FOLDER) / f"{word}.json"
    if word.endswith(".json") or path.exists():
        return configs.check_name(path.stem, word), configs.load(path), folder or path.parent
    return word, lookup.run(connect(), word)["config"], folder or FOLDER


def known(base: str, needed: bool) -> "dict[str, Config]":
    """The runs of the queue that have this name and letters; none where there is no queue.

    Args:
        needed: whether a queue that can't be reached is an error; else it is only told.
    """
    from repro.scheduler.queue import lookup
    from repro.stages.errors import Unreachable

    if not (needed or has_queue()):
        return {}
    try:
        db = connect()
        return {name: run["config"] for name, run in lookup.identities(db, lookup.lettered(db, base)).items()}
    except Unreachable as error:
        if needed:
            raise
        click.echo(f"warning: {error}; a letter may be taken there", err=True)
        return {}


def check(config: "Config", where: str, allow_unknown: Sequence[str] = ()) -> None:
    """As a submit checks it."""
    from repro.scheduler.queue.submission import check_config

    check_config(config, where, allow_unknown)


def submit(paths: Sequence[Path], allow_unknown: Sequence[str], as_json: bool, **options: Any) -> None:
    """Put files into the queue, and say what came of it."""
    from repro.commands.shared.submit_report import report
    from repro.readers.shipping import shipper
    from repro.scheduler.queue import submission as scheduler

    db, change = connect(), scheduler.Change(allow_unknown=allow_unknown)
    report(scheduler.submit(db, paths, change, scheduler.Options(**options), shipper(db)), as_json)


def submit_each(tagged: "Sequence[tuple[Path, list[str]]]", as_json: bool) -> None:
    """Put files into the queue, each with tags of its own, and say what came of it."""
    from repro.commands.shared.submit_report import report

    report([run for each in _submitted(connect(), tagged) for run in each], as_json)


def _submitted(db: "Queue", tagged: "Sequence[tuple[Path, list[str]]]") -> "Iterator[list[Submitted]]":
    from repro.readers.shipping import shipper
    from repro.scheduler.queue import submission as scheduler

    ship = shipper(db)
    for path, tags in tagged:
        yield scheduler.submit(db, [path], None, scheduler.Options(tags=tags), ship)

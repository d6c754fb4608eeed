"""`repro code`: the code that computed a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    import tarfile

    from repro.scheduler.runs import RunDocument
    from repro.worker.store.store import Store


@click.command(epilog="Example: repro code model model_B")
@click.argument("name", shell_complete=completion.runs)
@click.argument("other", required=False, shell_complete=completion.runs)
@click.option("--into", type=click.Path(path_type=Path), help="The new folder; NAME-code if you don't say.")
def code(name: str, other: str | None, into: Path | None) -> int:
    """Unpack the code that computed a run into a new folder; of two runs, show how their code differs.

    With two names the exit code is 1 if it does.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import lookup, workers
    from repro.scheduler.settings import Settings
    from repro.stages import files
    from repro.stages.errors import ReproError
    from repro.worker.store import code_archives, identity
    from repro.worker.store.store import Store

    db, settings = connect(), Settings.read()
    found = [lookup.run(db, one) for one in (name, other) if one is not None]
    known = workers.known_store(db) or {"url": settings.store}
    store = Store.open(known["url"], settings.home)
    identity.check(store, known.get("id"))
    archives = [_archive(store, run) for run in found]
    if other is not None:
        lines = list(_differences(*archives))
        click.echo("".join(lines), nl=False)
        return int(bool(lines))
    folder = into or Path(f"{name}-code")
    if folder.exists():
        raise ReproError(f"{folder} is there already; take another folder with --into")
    code_archives.unpack(archives[0], folder, writable=True)
    files.hide_from_git(folder)
    click.echo(f"{name}: {folder}")
    return 0


def _archive(store: "Store", run: "RunDocument") -> "tarfile.TarFile":
    from repro.stages.errors import ReproError
    from repro.worker.store import code_archives

    told = run.get("code") or {}
    if "location" not in told:
        facts = run.get("environment") or {}
        by = f"commit {facts['commit']}" if "commit" in facts else f"repro-queue {facts.get('repro-queue', '?')}"
        raise ReproError(f"{run['_id']}: its code did not go into the store with it; it is of {by}")
    return code_archives.read(store, told)


def _differences(one: "tarfile.TarFile", other: "tarfile.TarFile") -> "list[str]":
    import difflib

    sides = [{entry.name: _lines(archive, entry) for entry in archive} for archive in (one, other)]
    found: list[str] = []
    for path in sorted(sides[0].keys() | sides[1].keys()):
        before, after = (side.get(path) for side in sides)
        if before == after:
            continue
        was, is_ = (path if lines is not None else "/dev/null" for lines in (before, after))
        told = list(difflib.unified_diff(before or [], after or [], was, is_))
        found += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in told]
        if not told:
            found.append(f"{path}: {'only in the first' if after is None else 'only in the second'}, and empty\n")
    return found


def _lines(archive: "tarfile.TarFile", entry: "tarfile.TarInfo") -> list[str]:
    """Of a text; of other bytes their sum in the place of it."""
    import hashlib

    if entry.issym():
        return [f"a link to {entry.linkname}\n"]
    file = archive.extractfile(entry)
    data = file.read() if file else b""
    try:
        return data.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return [f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}\n"]

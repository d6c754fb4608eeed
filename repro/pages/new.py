"""Variations of a run: which keys could be changed, what a change would make, and making it.

Configs belong into the repository: what is submitted is a file first, created in the folder that the server was given.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.pages.run import keys
from repro.readers.shipping import shipper
from repro.scheduler.configs import variations
from repro.scheduler.configs.variations import Clone, Span
from repro.scheduler.queue import lookup, submission
from repro.scheduler.server.connection import server_time
from repro.stages import config as configs
from repro.stages.errors import ConfigError

if TYPE_CHECKING:
    from repro.scheduler.queue.submission import Submitted
    from repro.scheduler.server.connection import Queue
    from repro.stages.config import Config

MOST = 200  # variations at once
FIXED = ("stage",)  # keys that a variation does not change
NOWHERE = Path("configs")  # where a command would write, for names


def view(db: "Queue", base: str, changes: Mapping[str, str], folder: Path | None) -> dict[str, Any]:
    """`keys` of the base, and of the changes: `planned` runs, or what is `wrong` with them; `command` says the same.

    `planned`: `{name, changes, what}`, `what` being `new`, `is there already`, or `done at once, equal to NAME`.

    Raises:
        ReproError: there is no such run.
    """
    run = lookup.run(db, base)
    rows = [row for row in keys(run) if row["key"] not in FIXED]
    planned, wrong = list[dict[str, Any]](), ""
    if changes:
        try:
            planned = _planned(db, base, run["config"], changes, folder or NOWHERE)
        except ConfigError as error:
            wrong = str(error).replace("--set ", "")
    return {
        "now": server_time(db),
        "base": base,
        "stage": run["stage"],
        "keys": rows,
        "changes": dict(changes),
        "more": {key: text for key, text in changes.items() if key not in {row["key"] for row in rows}},
        "planned": planned,
        "wrong": wrong,
        "folder": str(folder) if folder else None,
        "command": command(base, changes),
    }


def command(base: str, changes: Mapping[str, str]) -> str:
    words = [word for key, text in changes.items() for word in ("--set", f"{key}={text}")]
    return shlex.join(["repro", "clone", base, *words, "--submit"]) if changes else ""


def submit(
    db: "Queue", base: str, changes: Mapping[str, str], folder: Path, priority: int, tags: Sequence[str]
) -> "list[Submitted]":
    """Write the files of the variations, each created exclusively, and submit them.

    Raises:
        ConfigError: something is wrong with a change, or a file can't be written; nothing was submitted.
    """
    options = submission.Options(priority=priority, tags=list(tags))
    made = list(_placed(db, base, _varied(base, lookup.run(db, base)["config"], changes), folder, dry_run=False))
    return submission.submit(db, [clone.path for clone in made], None, options, shipper(db))


def _planned(
    db: "Queue", base: str, config: "Config", changes: Mapping[str, str], folder: Path
) -> list[dict[str, Any]]:
    made = _placed(db, base, _varied(base, config, changes), folder, dry_run=True)
    sources = lookup.identities(db, {name for one in made for name in configs.sources(one.config, one.name)})
    prints = {name: run["fingerprint"] for name, run in sources.items()}
    for one in made:
        if missing := [name for name in configs.sources(one.config, one.name) if name not in prints]:
            raise ConfigError(f"{one.name}: its source {missing[0]} is not in the queue; submit that first")
    digests = {one.name: configs.fingerprint(one.config, prints) for one in made}
    there, equal = lookup.identities(db, digests), lookup.equal(db, digests.values())
    planned = []
    for one in made:
        same = equal.get(digests[one.name])
        what = "is there already" if one.name in there else "new"
        if same is not None and one.name not in there:
            what = f"done at once, equal to {same['_id']}"
        changed = {key: one.config[key] for key in changes}
        planned.append({"name": one.name, "changes": changed, "what": what})
    return planned


def _varied(base: str, config: "Config", changes: Mapping[str, str]) -> "list[Config]":
    """
    Raises:
        ConfigError: a change makes no sense, a key is none that the stage reads, or there are too many.
    """
    choices = dict(variations.parse_choice(f"{key}={text}") for key, text in changes.items())
    if any(isinstance(choice, Span) for choice in choices.values()):
        raise ConfigError("a range is for samples: repro clone --random N; here write the values, with commas")
    count = math.prod(len(choice) for choice in choices.values() if not isinstance(choice, Span))
    if count > MOST:
        raise ConfigError(f"these are {count} runs; at most {MOST} at once are made here")
    varied = variations.vary(config, variations.grid(choices), base)
    for other in varied:
        submission.check_config(other, base)
    return varied


def _placed(db: "Queue", base: str, varied: "list[Config]", folder: Path, dry_run: bool) -> list[Clone]:
    known = {name: run["config"] for name, run in lookup.identities(db, lookup.lettered(db, base)).items()}
    return list(variations.place(base, varied, folder, known, dry_run))

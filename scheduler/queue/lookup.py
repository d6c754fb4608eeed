"""Runs by their names: one, several, those that a pattern fits, and what else a name or a fingerprint stands for."""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from repro.scheduler.runs import FINAL, RESULT, RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Queue
from repro.stages.errors import ReproError


def run(db: Queue, name: str) -> RunDocument:
    """One run's document.

    Raises:
        ReproError: there is none of that name.
    """
    return runs(db, [name])[0]


def runs(db: Queue, names: Sequence[str], fields: Mapping[str, Any] | None = None) -> list[RunDocument]:
    """The documents of these runs, or some of their fields, in the order asked for.

    Raises:
        ReproError: naming those that do not exist.
    """
    by_name = {run["_id"]: run for run in collection(db).find({"_id": {"$in": list(names)}}, fields)}
    if missing := [name for name in names if name not in by_name]:
        raise ReproError(f"no such run: {', '.join(missing)}; repro status lists them")
    return [by_name[name] for name in names]


def fitting(db: Queue, pattern: str, limit: int = 0) -> list[str]:
    """The names that a pattern of the shell fits, sorted; not more than a limit, if there is one."""
    guard = {"_id": {"$regex": as_expression(pattern)}}
    return [run["_id"] for run in collection(db).find(guard, {"_id": 1}).sort("_id").limit(limit)]


def beginning(db: Queue, text: str, limit: int) -> list[str]:
    """Names that begin with a text, sorted; not more than asked for."""
    guard = {"_id": {"$regex": f"^{re.escape(text)}"}}
    return [run["_id"] for run in collection(db).find(guard, {"_id": 1}).sort("_id").limit(limit)]


def matching(db: Queue, guard: Mapping[str, Any], fields: Sequence[str]) -> Iterator[RunDocument]:
    """These fields of every run that a filter of a user's lets through, by name."""
    yield from collection(db).find(guard, list(fields)).sort("_id")


def is_pattern(word: str) -> bool:
    """Whether a word is a pattern of the shell; no name has such characters."""
    return any(character in word for character in "*?[")


def as_expression(pattern: str) -> str:
    """A pattern of the shell as a regular expression; the index can go by what stands before the first `*`."""
    prefix = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    whole = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", fnmatch.translate(pattern[len(prefix) :]), re.DOTALL)  # z: Python 3.14
    assert whole is not None, "fnmatch writes its expressions otherwise now"
    return f"^{re.escape(prefix)}{whole[1]}$"


def identities(db: Queue, names: Iterable[str]) -> dict[str, RunDocument]:
    """`state`, `config`, `fingerprint`, `location` and `metrics` of those of the names that are taken."""
    fields = {"state": 1, "config": 1, "fingerprint": 1, "location": 1, "metrics": 1}
    return {run["_id"]: run for run in collection(db).find({"_id": {"$in": list(names)}}, fields)}


def equal(db: Queue, fingerprints: Iterable[str]) -> dict[str, RunDocument]:
    """Fingerprint -> the done run that computed it, of those that some run has computed and read every key of."""
    guard = {"fingerprint": {"$in": list(fingerprints)}, "state": State.DONE.value, "same_as": None}
    guard["unread"] = None  # of a config whose keys were not all read, nobody knows whether it was meant so
    fields = {"fingerprint": 1} | dict.fromkeys(RESULT, 1)
    newest_first = collection(db).find(guard, fields).sort("finished_at", -1)
    return {run["fingerprint"]: run for run in newest_first}  # so that the oldest stays


def lettered(db: Queue, base: str) -> dict[str, str]:
    """Name -> fingerprint of `base` and of everything that is `base` with letters behind it."""
    guard = {"_id": {"$regex": f"^{re.escape(base)}[a-z]*$"}}
    return {run["_id"]: run["fingerprint"] for run in collection(db).find(guard, {"fingerprint": 1})}


def stages(db: Queue) -> list[str]:
    """The stages of done runs, sorted."""
    return sorted(collection(db).distinct("stage", {"state": State.DONE.value}))


def states(db: Queue, names: Sequence[str]) -> dict[str, str]:
    """Name -> state of those of the runs that exist."""
    return {run["_id"]: run["state"] for run in collection(db).find({"_id": {"$in": list(names)}}, {"state": 1})}


def unfinished(db: Queue, names: Sequence[str]) -> dict[str, str]:
    """Name -> state of those of the runs that are not in a final state."""
    guard = {"_id": {"$in": list(names)}, "state": {"$nin": [state.value for state in FINAL]}}
    return {run["_id"]: run["state"] for run in collection(db).find(guard, {"state": 1})}

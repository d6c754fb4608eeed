"""Which keys and figures the runs of a queue have, for who has mistyped one and finds nothing."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from repro.scheduler.lists import filters
from repro.scheduler.lists.filters import PARTS
from repro.scheduler.lists.listing import STATES
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Queue

LATEST = 200  # runs that are looked at for what keys there are


def unknown(db: Queue, keys: Sequence[str]) -> Iterator[str]:
    """A line for each key that no run has, with the nearest one that some run has."""
    missing = [key for key in keys if not filters.figure_name(key) and not _is_said(db, key)]
    known = known_keys(db) if missing else []
    for key in missing:
        near = get_close_matches(key, known, n=1)
        yield f"no run has {key}" + (f"; did you mean {near[0]}?" if near else "")


def known_keys(db: Queue) -> list[str]:
    """The keys and figures of the latest runs, as the filter language names them."""
    found: dict[str, None] = {}
    for run in collection(db).find({}, {"config": 1, **dict.fromkeys(PARTS, 1)}).sort("$natural", -1).limit(LATEST):
        found |= dict.fromkeys(run.get("config", ()))
        for part in PARTS:
            found |= dict.fromkeys(f"{part}.{name}" for name in run.get(part) or ())  # type: ignore[attr-defined]
    return list(found)


def _is_said(db: Queue, key: str) -> bool:
    path = filters.path(key)
    return any(collection(db).find_one({"state": state, path: {"$exists": True}}, {"_id": 1}) for state in STATES)

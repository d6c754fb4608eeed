"""Lists of runs by pages, in any order: whoever pages on costs no more than who looks at the first page.

A place in a list is a cursor, the last row's value and name, and never a number of rows to skip. Rows of one value go
by their names. What a page reads stands in an index: by time, or by any key or figure of done runs.

Not guaranteed: that a run which changes its place meanwhile is on one page and not on two, or on none.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repro.scheduler.lists import filters
from repro.scheduler.lists.listing import STATES, Only
from repro.scheduler.runs import FINAL, RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Document, Queue
from repro.stages.errors import ConfigError
from repro.stages.plain import LARGEST, SMALLEST

NO_LIST: Document = {"$not": {"$type": "array"}}  # a list has no place in an order
# A key may hold numbers in one run and texts in another: first all of one kind, then the next.
KINDS: Sequence[Document] = ({"$gte": -math.inf} | NO_LIST, {"$gte": ""} | NO_LIST, {"$in": [False, True]} | NO_LIST)
HIDDEN: Document = {"outputs": 0, "environment": 0, "history": 0}
NO_PLACE = "after=... is no place in this list; begin at its first page"


@dataclass(frozen=True)
class Page:
    """Some rows of a list; `after` is where the next page begins, None behind the last one."""

    rows: list[RunDocument]
    after: str | None


@dataclass(frozen=True)
class _Part:
    """Runs that stand together in a list."""

    guard: Document
    field: str
    descending: bool

    def read(self, db: Queue, last: tuple[Any, str] | None, limit: int, fields: Mapping[str, Any]) -> list[RunDocument]:
        """The next ones behind the last one read."""
        rows = self._equal(db, last[0], last[1], limit, fields) if last else []
        return rows + self._beyond(db, last, limit - len(rows), fields) if len(rows) < limit else rows

    def _equal(self, db: Queue, value: Any, name: str, limit: int, fields: Mapping[str, Any]) -> list[RunDocument]:
        """Of this value and behind this name."""
        if self.field == "_id":
            return []
        guard = {"$and": [self.guard, {self.field: value, "_id": {"$gt": name}}]}
        return list(collection(db).find(guard, fields).sort("_id").limit(limit))

    def _beyond(
        self, db: Queue, last: tuple[Any, str] | None, limit: int, fields: Mapping[str, Any]
    ) -> list[RunDocument]:
        """Of the values behind it. No index has the name behind the value: rows of one value are put in order here, and
        those of the last value, of which there may be more, are asked for by name."""
        beyond: Document = {self.field: {"$lt" if self.descending else "$gt": last[0]}} if last else {}
        guard = {"$and": [self.guard, beyond]} if beyond else self.guard
        found = list(collection(db).find(guard, fields).sort(self.field, -1 if self.descending else 1).limit(limit))
        found.sort(key=lambda run: run["_id"])
        found.sort(key=self._rank, reverse=self.descending)
        if len(found) < limit or self.field == "_id":
            return found
        value = self.value(found[-1])
        whole = [run for run in found if self.value(run) != value]
        return whole + self._equal(db, value, "", limit - len(whole), fields)

    def value(self, run: RunDocument) -> Any:
        """That by which a run has its place."""
        return filters.at(run, self.field)

    def _rank(self, run: RunDocument) -> tuple[bool, Any]:
        value = self.value(run)  # none in documents of long ago
        return (False, 0) if value is None else (True, value)


def page(
    db: Queue,
    only: Only | None = None,
    sort: str = "",
    after: str | None = None,
    limit: int = 50,
    fields: Sequence[str] = (),
    whole: bool = False,
) -> Page:
    """One page of the runs that a filter lets through.

    Args:
        sort: a key of configs, `metrics.NAME`, `params.KEY`, `name`, `submitted` or `finished`; with a `-` before it
            from the largest. Runs without such a key are not in the list; by a key or figure it has done runs alone,
            unless `only` says states. By nothing, what runs comes first, then what waits, then what has ended, the
            newest first.
        after: where the page before it ended.
        fields: what to read of each run, besides what its place needs; by default all but its longest parts, which
            `whole` reads, too.

    Raises:
        ConfigError: the order or the place is none.
    """
    only = only or Only()
    parts, (number, last) = list(_parts(only, sort)), _place(after)
    if number >= len(parts):
        raise ConfigError(NO_PLACE)
    wanted = _projection([*fields, *(part.field for part in parts)]) if fields else {} if whole else HIDDEN
    rows: list[tuple[int, RunDocument]] = []
    while number < len(parts):
        rows += [(number, run) for run in parts[number].read(db, last, limit + 1 - len(rows), wanted)]
        if len(rows) > limit:
            ended, run = rows[limit - 1]
            return Page([run for _, run in rows[:limit]], _cursor(ended, parts[ended].value(run), run["_id"]))
        number, last = number + 1, None
    return Page([run for _, run in rows], None)


def _projection(fields: Sequence[str]) -> Document:
    """MongoDB refuses a field beside one that it is a part of."""
    return {one: 1 for one in fields if not any(one.startswith(f"{other}.") for other in fields)}


def _parts(only: Only, sort: str) -> Iterator[_Part]:
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    if not key:
        for state in only.states or STATES:
            yield _Part({"state": state} | only.guard(), "finished_at" if state in FINAL else "submitted_at", True)
    elif key in filters.FACTS:
        states: Document = {"state": {"$in": list(only.states or STATES)}}
        yield _Part(states | only.guard(), filters.FACTS[key], descending)
    else:
        if filters.figure_name(key):
            raise ConfigError(f"--sort {key}: can't go by a figure with a dot in its name")
        field, states = filters.path(key), {"state": {"$in": list(only.states)} if only.states else State.DONE.value}
        if len(only.states) == 1:
            states = {"state": only.states[0]}
        for kind in KINDS:
            yield _Part({"$and": [states | only.guard(), {field: kind}]}, field, descending)
        yield _Part({"$and": [states | only.guard(), {field: math.nan}]}, "_id", False)


def _cursor(number: int, value: Any, name: str) -> str:
    told = {"at": value.isoformat()} if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([number, told, name]).encode()).decode().rstrip("=")


def _place(after: str | None) -> tuple[int, tuple[Any, str] | None]:
    """The part of the list, the value and the name that a cursor tells.

    Raises:
        ConfigError: it is none.
    """
    if not after:
        return 0, None
    try:
        number, told, name = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        value = datetime.fromisoformat(told["at"]) if isinstance(told, dict) else told
        is_known = isinstance(value, str | float | datetime) or value is None or SMALLEST <= value <= LARGEST
        if not (isinstance(number, int) and number >= 0 and isinstance(name, str) and is_known):
            raise ConfigError(NO_PLACE)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(NO_PLACE) from error
    return number, (value, name)

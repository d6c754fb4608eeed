"""A list of runs: of all their keys those that differ, and the figures of their results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repro.readers.named_configs import of_run
from repro.scheduler.configs.comparison import METRIC, Subject, compare
from repro.scheduler.lists import filters, key_hints, listing, pages
from repro.scheduler.lists.listing import Only
from repro.scheduler.lists.pages import Page
from repro.scheduler.server.connection import server_time

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

PAGE, MOST = 50, 500  # rows
MOST_COLUMNS, MOST_FIGURES = 8, 3
FIELDS = (
    *("stage", "state", "sources", "config", "params", "metrics", "unread", "tags", "held", "gpus", "needs"),
    *("waiting_for", "not_before", "code", "submitted_at", "submitted_by", "started_at", "finished_at", "attempts"),
    *("progress", "telemetry", "lease", "cards", "error", "same_as", "priority"),
)


@dataclass(frozen=True)
class Query:
    """What a list is to have, as the words of `repro status` and of the page's address say it."""

    states: Sequence[str] = ()
    stages: Sequence[str] = ()
    tags: Sequence[str] = ()
    names: Sequence[str] = ()
    where: Sequence[str] = ()
    sort: str = ""
    columns: Sequence[str] = ()
    after: str | None = None
    limit: int = PAGE
    only: Only = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: a word is no state, no condition or no key.
        """
        listing.check_states(self.states)
        conditions = [filters.parse(text) for text in self.where]
        for key in self.columns:
            filters.path(key)
        object.__setattr__(self, "only", Only(self.states, self.stages, self.tags, self.names, conditions))

    @property
    def is_all(self) -> bool:
        """Whether it lets every run through."""
        return not (self.states or self.stages or self.tags or self.names or self.where)


def view(db: "Queue", query: Query) -> dict[str, Any]:
    """`runs` (documents, with `why` they wait), `columns` (keys of the filter language), `after`, `counts`, `hints`."""
    found, columns, more = _read(db, query)
    reasons = listing.why_waiting(db, found.rows)
    asked = filters.keys(query.only.where, query.sort)
    return {
        "now": server_time(db),
        "counts": listing.counts(db),
        "runs": [run | {"why": reasons.get(run["_id"])} for run in found.rows],
        "columns": columns,
        "more_columns": more,
        "after": found.after,
        "hints": list(key_hints.unknown(db, asked)) if not found.rows else [],
    }


def table(db: "Queue", query: Query) -> list[list[Any]]:
    """The same rows as cells, below a header; None where a run has nothing."""
    found, columns, _ = _read(db, query)
    rows: list[list[Any]] = [["name", "state", "stage", *columns]]
    for run in found.rows:
        cells = (cell(run, key) for key in columns)
        rows.append([run["_id"], run["state"], run["stage"], *(value if kind else None for value, kind in cells)])
    return rows


def _read(db: "Queue", query: Query) -> tuple[Page, list[str], list[str]]:
    """The rows, their columns, and further ones in which they differ."""
    found = pages.page(db, query.only, query.sort, query.after, min(query.limit, MOST), FIELDS)
    asked, differing = filters.keys(query.only.where, query.sort), differing_columns(found.rows)
    columns = list(query.columns) or list(dict.fromkeys([*asked, *differing[:MOST_COLUMNS]]))
    return found, columns, [key for key in differing if key not in columns]


def differing_columns(runs: "Sequence[RunDocument]") -> list[str]:
    """The keys in which runs of one stage differ, behind a few figures; what a run used counts, a default too.

    What most of them have comes first.
    """
    by_stage: dict[str, list[Subject]] = {}
    for run in runs:
        by_stage.setdefault(run["stage"], []).append(of_run(run))
    keys, figures = Counter[str](), Counter[str]()
    for alike in by_stage.values():
        keys.update(dict.fromkeys(compare(alike, drop=["stage", "source"]).keys, len(alike)))
        figures.update(METRIC + name for one in alike for name in one.metrics if _is_column(name, one))
    names, differing = ([name for name, _ in counted.most_common()] for counted in (figures, keys))
    return [*names[:MOST_FIGURES], *differing, *names[MOST_FIGURES:]]


def _is_column(name: str, of: Subject) -> bool:
    """A figure that says a key again is none, nor is one that no filter could ask for."""
    return "." not in name and name not in of.config


def cell(run: Mapping[str, Any], key: str) -> tuple[Any, str]:
    """A run's value under a key, and what kind it is: `said`, `default`, `unread`, or empty where there is none."""
    value = filters.value(run, key)
    if "." in key or value is not None:
        kind = "unread" if key in (run.get("unread") or ()) else "said"
        return value, kind if value is not None or key in run.get("config", ()) else ""
    used = (run.get("params") or {}).get(key)
    return (used["value"], "default") if used and used["default"] else (None, "")

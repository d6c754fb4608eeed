"""A search: how far it is, what keeps it, and a row for each of its runs, the best first."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.scheduler.lists import listing, pages
from repro.scheduler.lists.listing import Only
from repro.scheduler.queue import lineage, lookup, search_standing
from repro.scheduler.runs import State
from repro.scheduler.search import search_config
from repro.scheduler.search.search_config import STAGE
from repro.scheduler.server.connection import server_time
from repro.stages import config as configs
from repro.stages.errors import ReproError
from repro.stages.plain import is_finite

if TYPE_CHECKING:
    from repro.scheduler.queue.search_standing import Standing
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

MOST = 100  # searches in a list
MOST_AXES = 7  # of parallel coordinates, besides the figure
FIELDS = ("stage", "state", "config", "trials", "held", "waiting_for", "same_as", "submitted_at", "finished_at")


def view(db: "Queue", name: str) -> dict[str, Any]:
    """`name`, `state`, `why` (how far it is), `config`, `metric`, `minimize`, `source`, `keys` (what is searched),
    `best`, `figure`, `trials` (counts), `error`, `importance` (of each key its share), and `rows`: of each run its
    `name`, `trial` (0 is the source, below are others), `rung`, `state`, `figure`, `values`, `error`.

    Raises:
        ReproError: there is no such search.
    """
    run = of_name(db, name)
    search = search_config.parse(run["config"], name)
    stands = search_standing.standing(db, run)
    keys = list(search.choices)
    return summary(run) | {
        "now": server_time(db),
        "run": {key: run.get(key) for key in ("_id", "state", "held")},
        "why": listing.why_waiting(db, [run]).get(name),
        "config": run["config"],
        "minimize": search.minimize,
        "keys": keys,
        "error": run.get("error"),
        "rows": [row(one, stands, keys) for one in search_standing.ranking(stands)] if stands else [],
        "importance": search_standing.importance(stands) if stands else {},
    }


def drawn(db: "Queue", name: str) -> dict[str, Any]:
    """The view, and what a page draws of it: `history` and a `slice` a key as points, `lines` on parallel `axes`."""
    shown = view(db, name)
    told, keys = history(shown), shown["keys"]
    spans = search_config.parse(shown["config"], name).choices
    return shown | {
        "has_rungs": any(run["rung"] for run in shown["rows"]),
        "history": [one | {"x": one["trial"], "y": one["figure"]} for one in told],
        "slices": [{"key": key, "log": getattr(spans[key], "log", False), "points": _slice(key, told)} for key in keys],
        "axes": [*keys[:MOST_AXES], shown["metric"]],
        "lines": [{"name": one["name"], "values": [*_first(one, keys), one["figure"]]} for one in told],
    }


def _slice(key: str, told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": one["name"], "x": one["values"].get(key), "y": one["figure"]} for one in told]


def _first(one: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
    return [one["values"].get(key) for key in keys[:MOST_AXES]]


def progress(db: "Queue", name: str) -> dict[str, Any]:
    """Its one line alone, with `why`, and whether it is `blocked`: its source has failed, or was cancelled; cheap."""
    run = of_name(db, name)
    blocked = run["state"] == State.WAITING and bool(lineage.blocked(db, [name]))
    return summary(run) | {"why": listing.why_waiting(db, [run]).get(name), "blocked": blocked}


def differences(db: "Queue", name: str) -> list[str]:
    """The runs of a search that would be proposed otherwise today.

    Raises:
        ReproError: there is no such search, or its source is not done.
    """
    stands = search_standing.standing(db, of_name(db, name))
    if stands is None:
        raise ReproError(f"{name}: its source is not done, so it has no runs yet")
    return search_standing.differences(stands)


def history(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each trial its longest run that has a figure, in their order, with the `best` figure of whole ones so far."""
    longest: dict[int, dict[str, Any]] = {}
    for run in view["rows"]:  # the longest come first
        if is_finite(run["figure"]):
            longest.setdefault(run["trial"], run)
    best, told = None, list[dict[str, Any]]()
    for run in sorted(longest.values(), key=lambda run: run["trial"]):
        better = min if view["minimize"] else max
        if run["rung"] is None:
            best = run["figure"] if best is None else better(best, run["figure"])
        told.append({**run, "best": best})
    return told


def of_name(db: "Queue", name: str) -> "RunDocument":
    """
    Raises:
        ReproError: there is no such search.
    """
    run = lookup.run(db, name)
    if run["stage"] != STAGE:
        raise ReproError(f"{name} is no search, but a run of stage {run['stage']}; repro show {name}")
    return run


def summary(run: "RunDocument") -> dict[str, Any]:
    """A search in one line."""
    told = run.get("trials", {})
    return {
        "name": run["_id"],
        "state": run["state"],
        "source": configs.sources(run["config"])[0],
        "sources": configs.sources(run["config"]),
        "metric": run["config"].get("metric"),
        "best": told.get("best"),
        "figure": told.get("figure"),
        "trials": told,
    }


def under_way(db: "Queue") -> list[dict[str, Any]]:
    """The searches that have not ended, each in one line, with `why`."""
    found = pages.page(db, Only([State.WAITING], [STAGE]), limit=MOST, fields=FIELDS).rows
    reasons = listing.why_waiting(db, found)
    return [summary(run) | {"why": reasons.get(run["_id"])} for run in found]


def row(run: "RunDocument", stands: "Standing", keys: list[str]) -> dict[str, Any]:
    """A run of a search, or its source."""
    known = search_standing.values_of(run, stands.search)
    values, (trial, rung) = {key: known.get(key) for key in keys}, stands.place(run)
    figure = run.get("metrics", {}).get(stands.search.metric) if run["state"] == State.DONE else None
    return {
        "name": run["_id"],
        "trial": trial,
        "rung": rung,
        "state": run["state"],
        "figure": figure,
        "values": values,
        "error": run.get("error"),
    }

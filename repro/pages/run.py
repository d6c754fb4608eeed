"""All about one run: its keys of three kinds, figures, outputs, what it was made of and what was made of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro.readers.named_configs import defaults_of_code
from repro.scheduler.lists import listing
from repro.scheduler.queue import lineage, lookup
from repro.scheduler.server.connection import server_time

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

MOST_CHILDREN = 100


def view(db: "Queue", name: str) -> dict[str, Any]:
    """`run` (the document), `keys`, `why` it waits, `children` (some), `now`.

    Raises:
        ReproError: there is no such run.
    """
    run = lookup.run(db, name)
    reasons = listing.why_waiting(db, [run])
    children = lineage.children(db, name, MOST_CHILDREN)
    return {
        "now": server_time(db),
        "run": run,
        "why": reasons.get(name),
        "keys": keys(run),
        "children": children,
        "sources": lookup.states(db, run["sources"]) if run["sources"] else {},
    }


def keys(run: "RunDocument") -> list[dict[str, Any]]:
    """Every key, what the config says first: `{key, value, kind}`; of a default that is another one `today`.

    `kind`: `said`, `default` (the run used it, the config does not say it), or `unread` (said, and never read).
    """
    params: Mapping[str, Any] = run.get("params") or {}
    today = defaults_of_code(run["config"])
    unread = run.get("unread") or ()
    rows: list[dict[str, Any]] = [
        {"key": key, "value": value, "kind": "unread" if key in unread else "said"}
        for key, value in run["config"].items()
    ]
    for key, read in params.items():
        if read["default"]:
            row = {"key": key, "value": read["value"], "kind": "default"}
            changed = key in today and repr(today[key]) != repr(read["value"])
            rows.append(row | ({"today": today[key]} if changed else {}))
    if not params:
        rows += [{"key": k, "value": v, "kind": "default"} for k, v in today.items() if k not in run["config"]]
    return rows

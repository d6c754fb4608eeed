"""What somebody is about to do to runs: how many, which, and what it costs. Nothing is changed by looking."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from repro.pages.runs import Query
from repro.scheduler.lists import changes
from repro.scheduler.lists.changes import Verb
from repro.scheduler.lists.listing import Only
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ConfigError

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

VERBS = {verb.name: verb for verb in (changes.CANCEL, changes.RETRY, changes.HOLD, changes.UNHOLD)}
SHOWN, TYPED = 20, 20  # names; the number of runs above which it must be typed
LOWEST, HIGHEST = -(2**31), 2**31 - 1  # of priorities


def verb_of(name: str, number: str = "") -> Verb:
    """
    Raises:
        ConfigError: there is no such verb, or its number is none.
    """
    if name != "priority":
        if name not in VERBS:
            raise ConfigError(f"{name!r} is nothing that can be done; there are: {', '.join([*VERBS, 'priority'])}")
        return VERBS[name]
    try:
        value = int(number[:20])
    except ValueError:
        value = HIGHEST + 1
    if not LOWEST <= value <= HIGHEST:
        raise ConfigError(f"{number!r} is no priority: a whole number of 32 bits")
    return changes.priority(value)


def chosen(names: Sequence[str], query: Query | None, until: datetime | None = None) -> Only:
    """Runs by their names; or all that a list's filter lets through, as long as they were submitted before.

    Raises:
        ConfigError: neither is said.
    """
    if query is not None:
        return replace(query.only, until=until)
    if not names:
        raise ConfigError("no run is chosen; mark some in the list, or take all that are in it")
    return Only(patterns=tuple(names))


def view(db: "Queue", verb: Verb, names: Sequence[str], query: Query | None) -> dict[str, Any]:
    """`count` runs, `names` of some, `until` when they were submitted, what a cancel `costs`, whether to be `typed`."""
    now = server_time(db)
    only = chosen(names, query, now)
    count = changes.count(db, verb, only)
    return {
        "now": now,
        "verb": verb.name,
        "done": verb.done,
        "states": list(verb.states),
        "count": count,
        "names": changes.some(db, verb, only, SHOWN),
        "asked": len(names) if query is None else None,
        "until": now,
        "typed": count > TYPED,
        "costs": changes.cost(db, only) if verb is changes.CANCEL else None,
    }

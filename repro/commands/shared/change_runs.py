"""What the user's verbs have in common: cancel, retry, hold, unhold and priority change several runs one by one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument, State
    from repro.scheduler.server.connection import Queue

Change = Callable[..., "RunDocument | None"]  # a transition of `repro.scheduler.runs`: (db, name, by=)


def takes_names(command: Callable[..., int]) -> Callable[..., int]:
    """The argument and the option that every verb has."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the changed runs as JSON.")
    return click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)(
        as_json(command)
    )


def change_runs(
    verb: Change, states: "Sequence[State]", done: str, names: Sequence[str], as_json: bool, chain: bool = False
) -> int:
    """Change each run that is in one of these states, and say so; tell what the state of the others is.

    With `chain`, the sources and children of the runs that have not ended are changed too.

    Returns:
        The exit code: 2 if a run could not be changed.

    Raises:
        ReproError: a name does not exist; nothing was changed.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import lineage, lookup
    from repro.views.tables import dump

    db = connect()
    lookup.runs(db, names)  # refuses names that do not exist
    line = lineage.chain(db, names) if chain else []
    wanted = list(dict.fromkeys([*line, *names]))
    changed = []
    for run in _changed(db, wanted, verb, states, done):
        changed.append({"name": run["_id"], "state": run["state"]})
        if not as_json:
            click.echo(f"{run['_id']}: {_standing(run)}")
    if as_json:
        dump(changed)
    return 0 if len(changed) == len(wanted) else 2


def _changed(
    db: "Queue", names: Sequence[str], verb: Change, states: "Sequence[State]", done: str
) -> Iterator["RunDocument"]:
    """The runs, each as soon as it is changed; of the others their state is told."""
    from repro.scheduler.queue import lookup
    from repro.scheduler.queue.submission import submitter

    by = submitter()
    for name in names:
        while not (run := verb(db, name, by=by)):
            state = lookup.run(db, name)["state"]
            if state not in states:
                click.echo(f"error: {name}: is {state}; only {_either(states)} runs can be {done}", err=True)
                break
            # It came into a fitting state between the two: once more.
        else:
            yield run


def _either(states: "Sequence[State]") -> str:
    *others, last = states
    return f"{', '.join(others)} or {last}"


def _standing(run: "RunDocument") -> str:
    """The state and, while nobody has claimed it, what claims go by."""
    state, priority = str(run["state"]), run["priority"]
    if state not in ("waiting", "pending"):
        return state
    return state + (", held" if run["held"] is True else "") + (f", priority {priority}" if priority else "")

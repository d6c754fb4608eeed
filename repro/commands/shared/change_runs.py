"""What the user's verbs have in common: cancel, retry, hold, unhold and priority change several runs one by one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    from repro.scheduler.lists.changes import Verb


def takes_names(command: Callable[..., int]) -> Callable[..., int]:
    """The argument and the option that every verb has."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the changed runs as JSON.")
    return click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)(
        as_json(command)
    )


def change_runs(verb: "Verb", names: Sequence[str], as_json: bool, chain: bool = False) -> int:
    """Change each run whose state allows it, and say so; tell what the state of the others is.

    With `chain`, the sources and children of the runs that have not ended are changed too.

    Returns:
        The exit code: 2 if a run could not be changed.

    Raises:
        ReproError: a name does not exist; nothing was changed.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.lists import changes
    from repro.scheduler.queue.submission import submitter
    from repro.views.tables import dump

    told = []
    for one in changes.change(connect(), verb, names, submitter(), chain):
        told.append(one)
        if one.refused:
            click.echo(f"error: {one}", err=True)
        elif not as_json:
            click.echo(str(one))
    if as_json:
        dump([{"name": one.name, "state": one.state} for one in told if not one.refused])
    return 2 if any(one.refused for one in told) else 0

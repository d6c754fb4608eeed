"""What came of a submit, for people or as JSON: for `repro submit`, and for commands that submit what they made."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from repro.stages.own_files import DIFF

if TYPE_CHECKING:
    from repro.scheduler.queue.submission import Plan, Submitted
    from repro.scheduler.runs import RunDocument


def report(submitted: "Sequence[Submitted]", as_json: bool) -> None:
    _show([_line(run.name, _became(run), run.location) for run in submitted], as_json)
    stages = {run.stage for run in submitted if run.new}
    _note_defaults(stages)
    _note_changes({run.stage for run in submitted if run.new and not run.sent})


def report_plan(plan: "Plan", as_json: bool) -> None:
    """What a submit would do; nothing was inserted."""
    _show([_line(c.name, _would_be(plan.equal.get(c.name)), c.where) for c in plan.fresh], as_json)


def _note_defaults(stages: set[str]) -> None:
    from repro.stages.source import registry

    for stage in sorted(stages):
        for key, given in registry.double_defaults(stage).items():
            defaults = " and ".join(json.dumps(one, default=repr) for one in given)
            click.echo(
                f'note: stage "{stage}" reads "{key}" with two defaults, {defaults}: a run that reads both fails; '
                "give it one, or another key",
                err=True,
            )


def _note_changes(stages: set[str]) -> None:
    from repro.stages.source import provenance, registry

    changed = {registry.package(stage) for stage in stages if provenance.snapshot(stage).facts.get("dirty")}
    if changed:
        click.echo(
            f"note: {', '.join(sorted(changed))} has changes that are not committed; they will lie beside the results, "
            f"as {DIFF}",
            err=True,
        )


def _would_be(equal: "RunDocument | None") -> str:
    return f"would be done at once, equal to {equal['_id']}" if equal else "would be inserted"


def _became(run: "Submitted") -> str:
    if run.same_as:
        return f"submitted, done at once: equal to {run.same_as}; --again computes it"
    return f"{'submitted' if run.new else 'already submitted'}, {run.state}"


def _line(name: str, what: str, where: str | None) -> dict[str, str]:
    return {"name": name, "what": what} | ({"where": where} if where else {})


def _show(lines: list[dict[str, str]], as_json: bool) -> None:
    from repro.views.tables import dump

    if as_json:
        dump(lines)
        return
    for line in lines:
        click.echo(f"{line['name']}: {line['what']}" + (f" ({line['where']})" if "where" in line else ""))
    if not lines:
        click.echo("nothing to insert: all of it is in the queue already")

"""`repro clone`: variations of a config under the next letters."""

from pathlib import Path

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT64


@click.command(
    epilog="Example: repro clone model --set lr=log:1e-4..1e-1 --set arch=baseline,resnet --random 20 --submit"
)
@click.argument("model", metavar="NAME|FILE", shell_complete=completion.runs_or_files)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE[,VALUE...]",
    multiple=True,
    required=True,
    shell_complete=completion.settings,
    help="A key and its new value. Several values make a grid; KEY=LOW..HIGH or KEY=log:LOW..HIGH is a range.",
)
@click.option(
    "--random",
    "count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Draw N samples instead of making the whole grid.",
)
@click.option("--seed", type=INT64, default=0, show_default=True, help="The same seed gives the same samples.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Write into this folder instead of beside the original."
)
@click.option("--submit", "submits", is_flag=True, help="Submit the new configs as well.")
@click.option(
    "--priority",
    type=INT64,
    default=0,
    show_default=True,
    help="With --submit: runs with a higher number are claimed first.",
)
@click.option(
    "--tag", "tags", multiple=True, help="With --submit: a word by which the runs can be found; may be given again."
)
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be written, but write nothing.")
@click.option("--allow-unknown", metavar="KEY", multiple=True,
              help="Accept this key though no code of the stage reads it; may be given again.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def clone(
    model: str,
    settings: tuple[str, ...],
    count: int | None,
    seed: int,
    folder: Path | None,
    submits: bool,
    priority: int,
    tags: tuple[str, ...],
    dry_run: bool,
    allow_unknown: tuple[str, ...],
    as_json: bool,
) -> None:
    """Copy a config, change parameters, and give the copy the next free letter: a new file in configs/.

    A NAME is a file in configs/ or, if there is none, a run of the queue. A change that changes nothing is refused. A
    variation that has a letter already is not written again.
    """
    from repro.commands.shared import variation_files
    from repro.scheduler.configs import variations as cloning
    from repro.views.tables import dump

    base, config, where = variation_files.original(model, folder)
    choices = dict(cloning.parse_choice(text) for text in settings)
    changes = cloning.sample(choices, count, seed) if count else cloning.grid(choices)
    varied = cloning.vary(config, changes, model)
    for other in varied:
        variation_files.check(other, model, allow_unknown)
    made = list(cloning.place(base, varied, where, variation_files.known(base, needed=submits), dry_run))
    if submits and not dry_run:
        variation_files.submit([c.path for c in made], allow_unknown, as_json, priority=priority, tags=list(tags))
        return
    if as_json:
        dump([{"name": c.name, "file": str(c.path), "new": c.new, "config": c.config} for c in made])
        return
    for c in made:
        outcome = ("would be written" if dry_run else "written") if c.new else "is there already"
        changed = ", ".join(f"{key}={_spelt(c.config[key])}" for key in choices)
        click.echo(f"{c.name}: {changed}, {outcome}: {c.path}")


def _spelt(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)

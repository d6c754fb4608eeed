"""`repro breed`: crosses and mutations of configs."""

from pathlib import Path

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT64, Number


@click.command(epilog="Example: repro breed modela modelb --population 'model*' --children 8 --mutate 0.2 --submit")
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--children", type=click.IntRange(min=1), default=4, show_default=True, help="How many children to make.")
@click.option("--mutate", type=Number(0, 1), default=0.1, show_default=True, metavar="P",
              help="The probability that a key of a child is mutated.")  # fmt: skip
@click.option("--seed", type=INT64, default=0, show_default=True, help="The same seed gives the same children.")
@click.option(
    "--population",
    metavar="NAME|FILE",
    multiple=True,
    help="Take values for mutations from these configs as well; may be given again.",
)
@click.option("--name", help="The name in front of the children's letters; by default what the parents' names share.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("configs"), show_default=True,
              help="The folder to write the children into.")  # fmt: skip
@click.option("--submit", "submits", is_flag=True, help="Submit the children as well, with their parents as a tag.")
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be written, but write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def breed(
    names: tuple[str, ...],
    children: int,
    mutate: float,
    seed: int,
    population: tuple[str, ...],
    name: str | None,
    folder: Path,
    submits: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cross configs pair by pair and mutate the children; each becomes a new file under the next free letter.

    A child has each key from one of its two parents. A mutated key gets another value: a number between the lowest and
    the highest that the population has, or else one of the population's other values. Every child must pass the checks
    of a submit. Where it comes from is kept in configs/.lineage, outside of the config.
    """
    from repro.commands.shared import variation_files
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.configs import breeding
    from repro.scheduler.configs import variations as cloning
    from repro.views.tables import dump

    reader = Reader(connect)
    parents, others = reader.subjects(names), reader.subjects(population)
    base = name or breeding.common_name(parents)
    born = breeding.breed(
        parents, others, children, mutate, seed, lambda config: variation_files.check(config, "a child")
    )
    made = list(
        cloning.place(base, [c.config for c in born], folder, variation_files.known(base, needed=submits), dry_run)
    )
    if not dry_run:
        for clone, child in zip(made, born, strict=True):
            breeding.note(clone, child, seed)
    if submits and not dry_run:
        variation_files.submit_each(
            [(clone.path, [f"parents:{'+'.join(c.parents)}"]) for clone, c in zip(made, born, strict=True)], as_json
        )
    elif as_json:
        pairs = zip(made, born, strict=True)
        dump([{"name": c.name, "file": str(c.path), "new": c.new} | vars(child) for c, child in pairs])
    else:
        for clone, child in zip(made, born, strict=True):
            mutated = f", mutated {', '.join(child.mutated)}" if child.mutated else ""
            outcome = ("would be written" if dry_run else "written") if clone.new else "is there already"
            click.echo(f"{clone.name}: of {' and '.join(child.parents)}{mutated}, {outcome}: {clone.path}")

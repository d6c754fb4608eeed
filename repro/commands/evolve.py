"""`repro evolve`: generations of runs, bred from the best."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT64, Number

if TYPE_CHECKING:
    from repro.scheduler.configs.comparison import Subject


@click.command(epilog="Example: repro evolve modela modelb modelc --metric validation_accuracy --generations 5 "
               "-o evolution.png")  # fmt: skip
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--metric", required=True, help="The figure of the results that is to be improved.")
@click.option("--minimize", is_flag=True, help="The lowest figure is the best, as for a loss.")
@click.option(
    "--generations",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many generations there are, the given runs included.",
)
@click.option(
    "--children",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many children each generation has.",
)
@click.option(
    "--survivors",
    type=click.IntRange(min=2),
    default=3,
    show_default=True,
    help="How many of the best runs are the parents of the next generation.",
)
@click.option("--mutate", type=Number(0, 1), default=0.2, show_default=True, metavar="P",
              help="The probability that a key of a child is mutated.")  # fmt: skip
@click.option("--seed", type=INT64, default=0, show_default=True,
              help="The same seed and the same results give the same children.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), default=Path("configs"), show_default=True,
              help="The folder to write the children into.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw the generations into this new file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evolve(
    names: tuple[str, ...],
    metric: str,
    minimize: bool,
    generations: int,
    children: int,
    survivors: int,
    mutate: float,
    seed: int,
    folder: Path,
    output: Path | None,
    as_json: bool,
) -> None:
    """Breed the best runs, wait for their children to end, and repeat this. Workers must be running.

    A run that fails has no children. If the command is interrupted and started again, it finds the children that are
    done and goes on.
    """
    from repro.commands.shared import variation_files
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.configs import breeding
    from repro.scheduler.configs import variations as cloning
    from repro.stages.errors import ReproError
    from repro.views import evolution_plot, figure_file
    from repro.views.tables import dump

    if output:
        figure_file.check_name(output)
    db = connect()
    population = Reader(lambda: db).subjects(names)
    base, history = breeding.common_name(population), list[evolution_plot.Generation]()
    for number in range(generations):
        ranked = _ranked(Reader(lambda: db).subjects([s.name for s in population]), metric, minimize)
        history.append([(s.name, float(s.metrics[metric])) for s in ranked])  # type: ignore[arg-type]
        if not as_json:
            best = f"best {history[-1][0][0]} with {history[-1][0][1]:.4g}" if ranked else "nobody ended well"
            click.echo(f"generation {number + 1}: {len(ranked)} of {len(population)} ended well, {best}")
        if number + 1 == generations:
            break
        if len(parents := ranked[:survivors]) < 2:
            raise ReproError(f"--metric {metric}: fewer than two runs ended well with it; nobody is left to breed")
        born = breeding.breed(parents, population, children, mutate, seed + number,
                              lambda config: variation_files.check(config, "a child"))  # fmt: skip
        made = list(cloning.place(base, [c.config for c in born], folder, variation_files.known(base, needed=True)))
        for clone, child in zip(made, born, strict=True):
            breeding.note(clone, child, seed + number)
        variation_files.run_to_the_end(
            db, [(c.path, [f"parents:{'+'.join(b.parents)}"]) for c, b in zip(made, born, strict=True)]
        )
        population = [*parents, *Reader(lambda: db).subjects([clone.name for clone in made])]
    if output:
        figure_file.save(lambda figure: evolution_plot.draw(figure, history, metric), output, (8, 5))
    if as_json:
        dump([[{"name": name, metric: figure} for name, figure in generation] for generation in history])
    elif output:
        click.echo(str(output))


def _ranked(population: "Sequence[Subject]", metric: str, minimize: bool) -> "list[Subject]":
    fit = [subject for subject in population if metric in subject.metrics]
    sign = 1 if minimize else -1
    return sorted(fit, key=lambda s: (sign * float(s.metrics[metric]), s.name))  # type: ignore[arg-type]

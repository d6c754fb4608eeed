"""`repro evolve`: a search that crosses and mutates the best of some runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repro.commands.shared import completion
from repro.commands.shared.option_types import INT64, Number

if TYPE_CHECKING:
    from repro.stages.config import Config
    from repro.views.evolution_plot import Generation


@click.command(epilog="Example: repro evolve modela modelb modelc --metric validation_accuracy --generations 5 "
               "-o evolution.png")  # fmt: skip
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--metric", required=True, help="The figure of the results that is to be improved.")
@click.option("--minimize", is_flag=True, help="The lowest figure is the best, as for a loss.")
@click.option(
    "--generations",
    type=click.IntRange(min=2),
    default=3,
    show_default=True,
    help="How many generations there are, the given runs included.",
)
@click.option(
    "--children",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many children each generation has, and how many are computed at once.",
)
@click.option(
    "--survivors",
    type=click.IntRange(min=2),
    default=3,
    show_default=True,
    help="How many of the best runs so far are parents.",
)
@click.option("--mutate", type=Number(0, 1), default=0.2, show_default=True, metavar="P",
              help="The probability that a key of a child is mutated.")  # fmt: skip
@click.option("--seed", type=INT64, default=0, show_default=True,
              help="The same seed gives the same children, with any number of workers.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), default=Path("configs"), show_default=True,
              help="The folder to write the search's config into.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw the generations into this new file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evolve(
    names: tuple[str, ...],
    generations: int,
    children: int,
    folder: Path,
    output: Path | None,
    as_json: bool,
    **said: Any,
) -> int:
    """Breed the best of these runs, and of their children. Workers must be running.

    It writes the config of a search with the sampler "evolve" over the keys in which the runs differ, and follows it.
    Interrupted and started again it goes on; repro search shows the same in other ways.
    """
    from repro.commands.shared import search_progress
    from repro.pages import searches as page
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.readers.shipping import shipper
    from repro.scheduler.configs import breeding, evolution
    from repro.scheduler.queue import submission
    from repro.views import evolution_plot, figure_file
    from repro.views.tables import dump

    if output:
        figure_file.check_name(output)
    db = connect()
    population = Reader(lambda: db).subjects(names)
    config = evolution.search(population, trials=children * (generations - 1), lag=children, **said)
    path = _written(config, breeding.common_name(population), folder)
    submission.submit(db, [path], ship=shipper(db))
    search_progress.follow(db, path.stem, quiet=as_json)
    view = page.view(db, path.stem)
    history = _generations(page.history(view), children, view["minimize"])
    if output:
        figure_file.save(lambda figure: evolution_plot.draw(figure, history, view["metric"]), output, (8, 5))
    if as_json:
        dump([[{"name": name, view["metric"]: figure} for name, figure in generation] for generation in history])
    else:
        for number, generation in enumerate(history, 1):
            click.echo(f"generation {number}: {_told(generation)}")
        click.echo(str(output) if output else f"{path.stem}: {view['state']}; repro search {path.stem}")
    return 0 if view["state"] == "done" else 1


def _written(config: "Config", base: str, folder: Path) -> Path:
    """The file of this search; the same config has the same one."""
    from repro.scheduler.configs import variations
    from repro.stages import config as configs

    number, path = 1, folder / f"{base}-evolved.json"
    while not variations.create(path, config) and configs.canonical(configs.load(path)) != configs.canonical(config):
        number += 1
        path = folder / f"{base}-evolved{number}.json"
    return path


def _generations(history: Sequence[dict[str, Any]], children: int, minimize: bool) -> "list[Generation]":
    """Name and figure of the runs that ended well, by generation, the best first; the given runs are the first one."""
    found: dict[int, Generation] = {}
    for run in history:
        number = 0 if run["trial"] <= 0 else (run["trial"] - 1) // children + 1
        found.setdefault(number, []).append((run["name"], run["figure"]))
    sign = 1 if minimize else -1
    return [sorted(found[number], key=lambda one: (sign * one[1], one[0])) for number in sorted(found)]


def _told(generation: "Generation") -> str:
    name, figure = generation[0]
    return f"{len(generation)} ended well, best {name} with {figure:.4g}"

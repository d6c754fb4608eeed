"""`repro tree`: which configs are near each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.commands.shared import completion

if TYPE_CHECKING:
    from repro.scheduler.configs.comparison import Subject


@click.command(epilog="Example: repro tree 'model*' --metric validation_accuracy -o tree.png")
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--metric", help="Colour the configs by this figure of their results.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw into this new file, a .png, .svg or .pdf.")
@click.option("--newick", "form", flag_value="newick", help="Print the tree in the Newick format, for other programs.")
@click.option("--json", "form", flag_value="json", help="Print the tree as JSON.")
def tree(names: tuple[str, ...], metric: str | None, output: Path | None, form: str | None) -> None:
    """Draw a dendrogram of configs: as a picture, as text, or as Newick.

    The distance of two configs is Gower's: a mean over all keys that are not the same in all configs. For a number it
    is the difference as a share of the range, for learning rates and the like in orders of magnitude. For other values
    it is 0 if they are the same and 1 if they are not.
    """
    from repro.readers.curve_reader import labels
    from repro.readers.named_configs import Reader
    from repro.readers.queue_access import connect
    from repro.scheduler.configs import dendrogram as trees
    from repro.views import figure_file, tree_plot
    from repro.views.tables import dump

    subjects = Reader(connect).subjects(names)
    root = trees.cluster(subjects)
    figures = _figures(subjects, metric) if metric else {}
    if output:
        figure_file.save(
            lambda figure: tree_plot.draw(figure, root, labels(subjects), figures, metric or ""),
            output,
            (10, max(3, 0.25 * len(subjects) + 1)),
        )
        click.echo(str(output))
    elif form == "newick":
        click.echo(trees.newick(root))
    elif form == "json":
        dump(tree_plot.as_json(root, figures))
    else:
        tree_plot.show(root, labels(subjects), figures)


def _figures(subjects: "Sequence[Subject]", metric: str) -> dict[str, float]:
    from repro.stages.errors import ReproError

    figures = {s.name: float(s.metrics[metric]) for s in subjects if metric in s.metrics}  # type: ignore[arg-type]
    if not figures:
        known = dict.fromkeys(name for subject in subjects for name in subject.metrics)
        raise ReproError(f"--metric {metric}: no result has it; there are: {', '.join(known) or 'no results'}")
    return figures

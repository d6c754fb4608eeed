"""`repro tree`: which configs are near each other."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repro.tools import completion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repro.scheduler.configs.comparison import Subject
    from repro.scheduler.configs.dendrogram import Node

SHARE = 3  # of a terminal's width one part in so many is the tree
GREY = "#888888"


@click.command(epilog="Example: repro tree 'model*' --metric validation_accuracy -o tree.png")
@click.argument("names", metavar="NAME|FILE...", nargs=-1, required=True, shell_complete=completion.runs_or_files)
@click.option("--metric", help="Colour the leaves by this figure of their results.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw into this new file: .png, .svg or .pdf.")
@click.option("--newick", "form", flag_value="newick", help="Print the tree for other programs.")
@click.option("--json", "form", flag_value="json", help="Print the tree as JSON.")
def tree(names: tuple[str, ...], metric: str | None, output: Path | None, form: str | None) -> None:
    """Draw a dendrogram of configs: as a picture, as text, or as Newick.

    The distance of two configs is Gower's: the mean over all keys that are not the same everywhere. Numbers count by
    their difference as a share of the range, learning rates and their like by orders of magnitude, all else by whether
    it is the same.
    """
    from repro.readers.curve_reader import labels
    from repro.readers.named_configs import Reader
    from repro.scheduler.configs import dendrogram as trees
    from repro.tools.queue_access import connect
    from repro.views.tables import dump

    subjects = Reader(connect).subjects(names)
    root = trees.cluster(subjects)
    figures = _figures(subjects, metric) if metric else {}
    if output:
        from repro.views import curve_plot

        curve_plot.save_figure(
            lambda figure: _draw(figure, root, labels(subjects), figures, metric or ""),
            output,
            (10, max(3, 0.25 * len(subjects) + 1)),
        )
        click.echo(str(output))
    elif form == "newick":
        click.echo(trees.newick(root))
    elif form == "json":
        dump(_as_json(root, figures))
    else:
        _show(root, labels(subjects), figures)


def _figures(subjects: "Sequence[Subject]", metric: str) -> dict[str, float]:
    from repro.stages.errors import ReproError

    found = {s.name: float(s.metrics[metric]) for s in subjects if metric in s.metrics}  # type: ignore[arg-type]
    if not found:
        known = dict.fromkeys(name for subject in subjects for name in subject.metrics)
        raise ReproError(f"--metric {metric}: no result has it; there are: {', '.join(known) or 'no results'}")
    return found


def _shades(figures: Mapping[str, float]) -> dict[str, str]:
    """A colour for each, dark for low to bright for high."""
    if not figures:
        return {}
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, to_hex

    norm, colours = Normalize(min(figures.values()), max(figures.values())), colormaps["viridis"]
    return {name: to_hex(colours(0.35 + 0.65 * float(norm(value)))) for name, value in figures.items()}


def _show(root: "Node", labels: Mapping[str, str], figures: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.text import Text

    from repro.scheduler.configs.dendrogram import drawn

    console = Console(highlight=False)
    width, shades = console.width if sys.stdout.isatty() else 10**6, _shades(figures)
    for line, leaf in zip(drawn(root, min(console.width, 200) // SHARE), root.leaves(), strict=True):
        figure = f"  {figures[leaf.name]:.4g}" if leaf.name in figures else ""
        text = Text.assemble(f"{line} ", (f"{labels[leaf.name]}{figure}", shades.get(leaf.name, "")))
        text.truncate(width, overflow="ellipsis")
        console.print(text, soft_wrap=True)


def _as_json(root: "Node", figures: Mapping[str, float]) -> dict[str, object]:
    """Nested, but written without recursion: a tree may be a thousand deep."""
    made: dict[int, dict[str, object]] = {}
    for node in reversed(list(root.walk())):
        if node.children:
            made[id(node)] = {"height": node.height, "children": [made[id(child)] for child in node.children]}
        else:
            made[id(node)] = {"name": node.name} | ({"metric": figures[node.name]} if node.name in figures else {})
    return made[id(root)]


def _draw(figure: "Figure", root: "Node", labels: Mapping[str, str], figures: Mapping[str, float], metric: str) -> None:
    """The root at the left, the leaves at distance 0 at the right, the first at the top."""
    axes, shades = figure.add_subplot(xlabel="distance (Gower)"), _shades(figures)
    for node in root.walk():
        for child in node.children:
            axes.plot([node.height, node.height, child.height], [node.row, child.row, child.row], color=GREY, lw=1.2)
    for leaf in root.leaves():
        figured = f"  {figures[leaf.name]:.4g}" if leaf.name in figures else ""
        shade = shades.get(leaf.name, GREY)
        axes.plot([0], [leaf.row], "o", color=shade, markersize=6, clip_on=False)
        axes.annotate(
            labels[leaf.name] + figured, (0, leaf.row), (8, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim((root.height or 1) * 1.02, 0)
    axes.set_ylim(len(root.leaves()) - 0.5, -0.5)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    if metric:
        axes.set_title(f"leaves by {metric}", fontsize=9)

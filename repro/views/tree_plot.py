"""A dendrogram of configs: as a picture, as text on a terminal, as JSON."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repro.scheduler.configs.dendrogram import Node

SHARE = 3  # of a terminal's width one part in so many is the tree
GREY = "#888888"


def _shades(figures: Mapping[str, float]) -> dict[str, str]:
    """A colour for each, dark for low to bright for high."""
    if not figures:
        return {}
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, to_hex

    norm, colours = Normalize(min(figures.values()), max(figures.values())), colormaps["viridis"]
    return {name: to_hex(colours(0.35 + 0.65 * float(norm(value)))) for name, value in figures.items()}


def show(root: "Node", labels: Mapping[str, str], figures: Mapping[str, float]) -> None:
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


def as_json(root: "Node", figures: Mapping[str, float]) -> dict[str, object]:
    """Nested, but written without recursion: a tree may be a thousand deep."""
    made: dict[int, dict[str, object]] = {}
    for node in reversed(list(root.walk())):
        if node.children:
            made[id(node)] = {"height": node.height, "children": [made[id(child)] for child in node.children]}
        else:
            made[id(node)] = {"name": node.name} | ({"metric": figures[node.name]} if node.name in figures else {})
    return made[id(root)]


def draw(figure: "Figure", root: "Node", labels: Mapping[str, str], figures: Mapping[str, float], metric: str) -> None:
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

"""Which configs are near each other: a distance, and the tree that clustering by it gives (R17). Pure.

The distance is Gower's (Biometrics 27, 1971), made for values of mixed kinds: the mean, over the keys that are not
the same everywhere, of how far two configs are apart in that key, from 0 to 1. Numbers: their difference as a share of
the range in the population, of logarithms where that spans more than two orders of magnitude, as learning rates do.
All else: 0 if equal, 1 if not. A key that one of the two lacks counts as 1: to leave a key out is a choice as well.

Clusters are joined by the mean distance of their members (UPGMA), which unlike Ward's needs no Euclidean space, and
whose heights are distances that can be read off.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.scheduler.configs.comparison import Subject, compare
from repro.stages.config import Value
from repro.stages.errors import ReproError

if TYPE_CHECKING:
    import numpy as np

ORDERS = 100  # highest over lowest, from which numbers are compared by their logarithms
BEST_ORDER = 300  # leaves up to which the order with the nearest neighbours is looked for


@dataclass(frozen=True)
class Node:
    """A leaf with a name, or two clusters that are joined at a height; `row` is its place among the leaves."""

    height: float
    row: float
    name: str = ""
    children: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)

    def leaves(self) -> list["Node"]:
        return [node for node in self.walk() if not node.children]


def distances(subjects: Sequence[Subject]) -> "np.ndarray":
    """The matrix of all distances."""
    import numpy as np

    comparison = compare(subjects)
    total = np.zeros((len(subjects), len(subjects)))
    for key in comparison.keys:
        total += _apart([row.cells[key].value if key in row.cells else ... for row in comparison.rows])
    return total / max(1, len(comparison.keys))


def cluster(subjects: Sequence[Subject]) -> Node:
    """The tree of some configs.

    Raises:
        ReproError: there are fewer than two, or scipy is missing.
    """
    if len(subjects) < 2:
        raise ReproError("a tree needs two configs or more")
    try:
        from scipy.cluster.hierarchy import leaves_list, linkage
        from scipy.spatial.distance import squareform
    except ImportError as error:
        raise ReproError('a tree needs scipy: pip install "repro-queue[tools]"') from error
    near = squareform(distances(subjects), checks=False)
    joined = linkage(near, "average", optimal_ordering=len(subjects) <= BEST_ORDER)
    rows = {int(leaf): row for row, leaf in enumerate(leaves_list(joined))}
    nodes = [Node(0.0, rows[i], subject.name) for i, subject in enumerate(subjects)]
    for left, right, height, _ in joined:
        pair = (nodes[int(left)], nodes[int(right)])
        nodes.append(Node(float(height), sum(node.row for node in pair) / 2, children=pair))
    return nodes[-1]


def newick(root: Node) -> str:
    """The tree as programs for trees read it; lengths of branches are differences of heights."""
    spelt: dict[int, str] = {}
    for node in reversed(list(root.walk())):  # children first, without recursion: a tree may be a thousand deep
        parts = [f"{spelt.pop(id(child))}:{node.height - child.height:.6g}" for child in node.children]
        spelt[id(node)] = f"({','.join(parts)})" if parts else _quoted(node.name)
    return f"{spelt[id(root)]};"


def drawn(root: Node, width: int) -> list[str]:
    """A line a leaf, in the order of `root.leaves()`: the tree as box characters, its root at the left."""
    lines = len(root.leaves())
    arms: list[dict[int, int]] = [{} for _ in range(lines)]  # row -> column -> which of the four arms a cell has

    def column(node: Node) -> int:
        return round((1 - node.height / (root.height or 1)) * (width - 1)) if node.children else width

    for node in root.walk():
        x, (upper, lower) = column(node), (_rows(node))
        for row in range(upper, lower + 1) if node.children else ():
            arms[row][x] = arms[row].get(x, 0) | (UP if row > upper else 0) | (DOWN if row < lower else 0)
        for child in node.children:
            row = int(child.row)
            arms[row][x] = arms[row].get(x, 0) | RIGHT
            for between in range(x + 1, column(child)):
                arms[row][between] = arms[row].get(between, 0) | LEFT | RIGHT
            if child.children and column(child) > x:
                arms[row][column(child)] = arms[row].get(column(child), 0) | LEFT
    return ["".join(BOXES[arms[row].get(x, 0)] for x in range(width)) for row in range(lines)]


UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
BOXES = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"  # by the sum of a cell's arms


def _rows(node: Node) -> tuple[int, int]:
    rows = [int(child.row) for child in node.children] or [int(node.row)]
    return min(rows), max(rows)


def _apart(values: Sequence[object]) -> "np.ndarray":
    """How far each pair of values is apart in one key; `...` stands for none."""
    import numpy as np

    kinds = {spelling: code for code, spelling in enumerate(dict.fromkeys(map(repr, values)))}
    codes = np.array([kinds[repr(value)] for value in values])
    apart: np.ndarray = (codes[:, None] != codes[None, :]).astype(float)
    numbers = np.array([float(v) if is_number(v) else np.nan for v in values])  # type: ignore[arg-type]
    known = numbers[~np.isnan(numbers)]
    if len(known) < 2 or known.min() == known.max():
        return apart
    if known.min() > 0 and known.max() / known.min() >= ORDERS:
        numbers, known = np.log(numbers), np.log(known)
    shares = abs(numbers[:, None] - numbers[None, :]) / (known.max() - known.min())
    filled: np.ndarray = np.where(np.isnan(shares), apart, shares)
    return filled


def is_number(value: Value | object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _quoted(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9]+", name) else "'" + name.replace("'", "''") + "'"

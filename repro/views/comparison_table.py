"""A comparison as a table on a terminal, as CSV, Markdown or JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repro.scheduler.configs.comparison import METRIC, Comparison, Row
from repro.scheduler.configs.spelling import spell

if TYPE_CHECKING:
    from rich.text import Text

DEFAULTS = "(defaults)"  # no key looks so
ABSENT = "(absent)"  # said by the base alone
GAP = 2  # blanks between two columns


def plain(comparison: Comparison, transpose: bool = False) -> list[list[str]]:
    """Rows of text, the first the header. Which keys are defaults stands in a last column, so that numbers stay so."""
    marks = [" ".join(key for key in comparison.keys if _is_default(row, key)) for row in comparison.rows]
    header = ["name", *comparison.keys] + ([DEFAULTS] if any(marks) else [])
    rows = [[row.name, *(_text(row, key) for key in comparison.keys)] for row in comparison.rows]
    if any(marks):
        rows = [[*row, mark] for row, mark in zip(rows, marks, strict=True)]
    return _turned([header, *rows]) if transpose else [header, *rows]


def markdown(comparison: Comparison, transpose: bool = False) -> list[list[str]]:
    """As `plain`, defaults in italics in their cells."""
    rows = [
        [row.name, *(f"*{_text(row, k)}*" if _is_default(row, k) else _text(row, k) for k in comparison.keys)]
        for row in comparison.rows
    ]
    return _turned([["name", *comparison.keys], *rows]) if transpose else [["name", *comparison.keys], *rows]


def as_json(comparison: Comparison) -> list[dict[str, Any]]:
    """`{name, values, defaults, metrics}` a config; keys of which nothing is known are left out."""
    return [
        {
            "name": row.name,
            "values": {k: c.value for k, c in _shown(row).items() if not k.startswith(METRIC)},
            "defaults": [key for key, cell in _shown(row).items() if cell.default],
        }
        | ({"metrics": figures} if (figures := _figures(row)) else {})
        for row in comparison.rows
    ]


def show(comparison: Comparison, transpose: bool = False) -> None:
    """On a terminal: defaults grey; columns that do not fit beside the others go below them, under the names again."""
    from rich.console import Console

    console = Console(highlight=False)
    texts = _turned(_texts(comparison)) if transpose else _texts(comparison)
    for number, columns in enumerate(_blocks(texts, console.width)):
        if number:
            console.print()
        for row in texts:
            console.print(_line([row[i] for i in columns], [_width(texts, i) for i in columns], console.width))


def _texts(comparison: Comparison) -> "list[list[Text]]":
    from rich.text import Text

    header = [Text("NAME", "bold"), *(Text(key.removeprefix(METRIC), "bold") for key in comparison.keys)]
    return [header, *([Text(row.name), *(_styled(row, key) for key in comparison.keys)] for row in comparison.rows)]


def _styled(row: Row, key: str) -> "Text":
    from rich.text import Text

    if key in row.same:
        return Text("·" if key in row.cells else "", "bright_black")
    text = _text(row, key)
    if key.startswith(METRIC) and key in row.cells and isinstance(value := row.cells[key].value, float):
        text = f"{value:.4g}"
    if key in row.cells and row.cells[key].unread:
        return Text(f"{text} (never read)", "yellow")
    return Text(text, "bright_black" if _is_default(row, key) or text == ABSENT else "")


def _blocks(texts: "Sequence[Sequence[Text]]", width: int) -> list[list[int]]:
    """The columns of each block: the first one, and as many others as fit."""
    blocks, room = [[0]], width - _width(texts, 0)
    for column in range(1, len(texts[0])):
        needed = _width(texts, column) + GAP
        if needed > room and len(blocks[-1]) > 1:
            blocks.append([0])
            room = width - _width(texts, 0)
        blocks[-1].append(column)
        room -= needed
    return blocks


def _line(cells: "Sequence[Text]", widths: Sequence[int], width: int) -> "Text":
    from rich.text import Text

    line = Text(" " * GAP, end="").join(_padded(cell, size) for cell, size in zip(cells, widths, strict=True))
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line


def _padded(cell: "Text", width: int) -> "Text":
    copy = cell.copy()
    copy.pad_right(width - cell.cell_len)
    return copy


def _width(texts: "Sequence[Sequence[Text]]", column: int) -> int:
    return max(row[column].cell_len for row in texts)


def _turned(rows: list[list[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _text(row: Row, key: str) -> str:
    if key in row.same:
        return ""
    if key in row.cells:
        return spell(row.cells[key].value)
    return ABSENT if row.relative else ""


def _is_default(row: Row, key: str) -> bool:
    return key in row.cells and row.cells[key].default and key not in row.same


def _shown(row: Row) -> dict[str, Any]:
    return {key: cell for key, cell in row.cells.items() if key not in row.same}


def _figures(row: Row) -> dict[str, Any]:
    return {k.removeprefix(METRIC): c.value for k, c in _shown(row).items() if k.startswith(METRIC)}

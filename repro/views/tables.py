"""How commands show things: tables on a terminal, CSV in a pipe, JSON on request."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from repro.stages.plain import strict

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def dump(value: Any) -> None:
    """Print JSON; times as ISO 8601 in UTC, figures that are not finite as texts: JSON has no word for them."""
    print(json.dumps(strict(value), indent=2, ensure_ascii=False, default=plain, allow_nan=False))


Paint = Callable[[str, str], "Text"]  # (column, cell) -> the cell as a terminal shows it
LAST = 30  # characters that the last column should have at least, before others give way
GAP = 1  # blanks behind a column
UNITS = ("", "K", "M", "G", "T", "P")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint | None = None, expendable: Sequence[str] = ()
) -> None:
    """A table on a terminal, a line a row, without columns that are empty; CSV with every column elsewhere."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.lower() for column in columns])
        writer.writerows(rows)
        return
    from rich.console import Console

    console = Console()
    console.print(grid(columns, rows, console.width, paint, expendable))


def grid(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    paint: Paint | None = None,
    expendable: Sequence[str] = (),
) -> "Table":
    """The table itself. Where it is too wide, expendable columns go, the first named first; then the last is cut."""
    from rich.table import Table
    from rich.text import Text

    cells = [[paint(c, text) if paint else Text(text) for c, text in zip(columns, row, strict=True)] for row in rows]
    widths = [max(len(column), *(row[i].cell_len for row in cells)) for i, column in enumerate(columns)]
    shown = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    for column in expendable:
        needed = [widths[i] for i in shown[:-1]] + [min(LAST, widths[shown[-1]])]
        if sum(needed) + GAP * len(needed) > width:
            shown = [i for i in shown if columns[i] != column]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i in shown:
        table.add_column(columns[i], no_wrap=i != shown[-1])
    for row in cells:
        for cell in row:
            cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*(row[i] for i in shown))
    return table


def duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h02m`, `12d`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m" if whole < 2 * 86400 else f"{whole // 86400}d"


def size(number: float) -> str:
    """Bytes in three digits: `812K`, `42.3M`, `1.25G`."""
    unit = 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g}{UNITS[unit]}"


def speed(used: Mapping[str, Any]) -> str:
    """Of what a heartbeat or a result tells of a run: `12.3/s`; empty if it is not known."""
    rate = used.get("steps_per_second")
    return f"{rate:.3g}/s" if rate and rate < 100 else f"{rate:.0f}/s" if rate else ""


def load(used: Mapping[str, Any]) -> str:
    """Likewise, how busy its cards are and their memory, all cards together: `93% 12.4G`; else its own memory."""
    cards = used.get("cards", [])
    busy = [card["utilisation"] for card in cards if card["utilisation"] is not None]
    memory = sum(card["memory"] for card in cards) or used.get("memory", 0)
    shown = (f"{sum(busy) / len(busy):.0f}%" if busy else "", size(memory) if memory else "")
    return " ".join(filter(None, shown))


def place(location: str) -> str:
    """A location as people like to read it: a plain path where it is one."""
    return location.removeprefix("file://")


def plain(value: Any) -> str:
    """What JSON has no word for: times as ISO 8601 in UTC, all else as it spells itself."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)

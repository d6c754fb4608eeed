"""How commands show things: tables on a terminal, CSV in a pipe, JSON on request."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def dump(value: Any) -> None:
    """Print JSON; times as ISO 8601 in UTC."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, a line a row, without columns that are empty; CSV with every column elsewhere."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.lower() for column in columns])
        writer.writerows(rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    found = Table(box=None, pad_edge=False, header_style="bold")
    for i in shown:
        found.add_column(columns[i], no_wrap=i != shown[-1])  # the last gives way where the terminal is narrow
    for row in rows:
        found.add_row(*(Text(row[i], no_wrap=True, overflow="ellipsis") for i in shown))
    Console().print(found)


def duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h02m`, `12d`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m" if whole < 2 * 86400 else f"{whole // 86400}d"


def place(location: str) -> str:
    """A location as people like to read it: a plain path where it is one."""
    return location.removeprefix("file://")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)

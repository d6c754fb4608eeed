"""Values of configs as cells of a table, so that a spreadsheet that reads and writes them changes none.

A string stands bare where it can be nothing else. One that a spreadsheet, or we, could take for a number, a
formula, a date or an empty cell stands in JSON's quotes.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence

from repro.stages.config import Value

BARE = re.compile(r"[A-Za-z_/][\w./:@*?+-]*(?: [\w./:@*?+-]+)*", re.ASCII)
TAKEN = {"true", "false", "null", "nan", "inf", "infinity"}
DATE = re.compile(r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ./:-]*\d", re.IGNORECASE)


def spell(value: Value) -> str:
    """A value as a cell: JSON, but for strings that are plain text."""
    if isinstance(value, str) and BARE.fullmatch(value) and value.lower() not in TAKEN and not DATE.match(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def parse(cell: str) -> Value:
    """What `spell` spelled; a spreadsheet may have made TRUE of true."""
    try:
        value: Value = json.loads(cell.lower() if cell.lower() in TAKEN else cell)
    except ValueError:
        return cell
    return value


def to_csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its header."""
    spelt = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in spelt)) for column in range(len(spelt[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in spelt]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"

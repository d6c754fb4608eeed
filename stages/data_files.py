"""What a run read of the data outside the store: the files' names and sizes, and a digest of them.

The same config on other data gives another result, which is no fault of the code: the digest tells the two apart. It is
that of the `files.csv` which `make_dataset` keeps with `"paranoia": "list"`, and can be pinned by `"expected"`.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

COLUMNS = ("path", "size")


class DataFiles:
    """The files that one run has found by its masks, or opened, each once."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self.tell: Callable[..., None] = lambda *_: None  # for a note of a forked process (`ForkedNotes`)

    def note(self, name: str, size: int) -> None:
        """One of them. `name`: relative to the data, else its path or URL; `size`: in bytes."""
        self._sizes[name] = size
        self.tell("data", name, size)

    def facts(self, root: str) -> dict[str, Any]:
        """How many `files` and `bytes` with which `listing`, a SHA-256, and the `root` if any was found there; empty if
        there were none."""
        if not self._sizes:
            return {}
        text = listing(COLUMNS, sorted(self._sizes.items()))
        below = any("://" not in name and not name.startswith("/") for name in self._sizes)
        return ({"root": root} if below else {}) | {
            "files": len(self._sizes),
            "bytes": sum(self._sizes.values()),
            "listing": hashlib.sha256(text).hexdigest(),
        }


def listing(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """The bytes of a `files.csv`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8", "surrogateescape")

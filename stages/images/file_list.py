"""How closely a dataset is watched (R18): by its path alone, its file list, or every file's checksum."""

import csv
import hashlib
import io
from collections.abc import Iterable
from functools import cached_property

from repro.stages.data_files import COLUMNS, listing
from repro.stages.errors import StageError
from repro.stages.images import reader
from repro.stages.images.reader import Entry
from repro.stages.params import Params
from repro.stages.run import Run

FILES = "files.csv"
LEVELS = {"path": [], "list": [*COLUMNS], "sha256": [*COLUMNS, "sha256"]}
SHOWN = 10  # of the names that differ


class Listing:
    """The files of a dataset as `files.csv` keeps them; the digest is that file's SHA-256.

    A config pins a dataset with `expected` (the digest) or `expected_files` (a kept `files.csv`, which
    also lets the message name what changed), or both.

    Raises:
        StageError: an unknown level, a pin without a listing to hold against it.
    """

    def __init__(self, params: Params, data: str) -> None:
        self.level = params.get("paranoia", "path")
        self.expected, self.kept = params.get("expected", ""), params.get("expected_files", "")
        if self.level not in LEVELS:
            raise StageError(f'"paranoia": expected one of {", ".join(LEVELS)}, got: "{self.level}"')
        if (self.expected or self.kept) and self.level == "path":
            raise StageError('"expected" needs "paranoia": "list" or "sha256"; a path alone has no digest')
        self.data = data
        self.files: list[Entry] = []
        self.sums: dict[str, str] = {}

    def plan(self, files: list[Entry]) -> None:
        """What is going to be read; a list, which needs no reading, is checked at once."""
        self.files = files
        if self.level == "list":
            self._check()

    def saw(self, entry: Entry, content: bytes) -> None:
        if self.level == "sha256":
            self.sums[entry.name] = hashlib.sha256(content).hexdigest()

    def finish(self, run: Run) -> dict[str, str]:
        """Check, leave `files.csv`, say the digest; what the metadata keeps of it."""
        if self.level == "path":
            return {}
        if self.level == "sha256":
            for entry, content in reader.read([f for f in self.files if f.name not in self.sums]):
                self.saw(entry, content)
            self._check()
        with run.open(FILES, "xb") as file:
            file.write(self.text)
        print(f'"expected": "{self.digest}"')
        return {"paranoia": self.level, "digest": self.digest}

    @cached_property
    def text(self) -> bytes:
        """The bytes of `files.csv`."""
        columns, files = LEVELS[self.level], sorted(self.files, key=lambda entry: entry.name)
        return listing(columns, ([f.name, f.size, self.sums.get(f.name)][: len(columns)] for f in files))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    def _check(self) -> None:
        if self.kept:
            self._compare(reader.find_one(self.kept, self.data, "expected_files"))
        if self.expected and self.digest != self.expected:
            size = sum(entry.size for entry in self.files)
            raise StageError(
                f"the dataset changed: {len(self.files)} files, {size} bytes, {self.level} digest "
                f'{self.digest}, expected {self.expected}; to see which files, set "expected_files" to '
                f"the {FILES} of the run that was right"
            )

    def _compare(self, kept: Entry) -> None:
        ((_, content),) = reader.read([kept])
        then, now = self._rows(content, kept.name), self._rows(self.text, FILES)
        if self.expected and hashlib.sha256(content).hexdigest() != self.expected:
            raise StageError(f'"expected_files": {kept.name} is not the listing whose digest "expected" gives')
        if then != now:
            changed = (name for name in then.keys() & now.keys() if then[name] != now[name])
            parts = [
                _named("added", now.keys() - then.keys()),
                _named("removed", then.keys() - now.keys()),
                _named("changed", changed),
            ]
            raise StageError(f"the dataset is not that of {kept.name}: {'; '.join(filter(None, parts))}")

    def _rows(self, content: bytes, name: str) -> dict[str, list[str]]:
        try:
            text = content.decode("utf-8", "surrogateescape")
            header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        except csv.Error as error:
            raise StageError(f'"expected_files": {name} is no CSV file: {error}') from error
        if header != LEVELS[self.level]:
            raise StageError(
                f'"expected_files": {name} has columns {",".join(header)}; '
                f'"paranoia": "{self.level}" needs {",".join(LEVELS[self.level])}'
            )
        return {row[0]: row[1:] for row in rows if row}


def _named(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{what} {', '.join(ordered[:SHOWN])}{more}" if ordered else ""

"""What an image is of: the name of its folder, or a row of a CSV file."""

import csv
import io
import posixpath
import unicodedata

from repro.stages.errors import StageError
from repro.stages.images import reader
from repro.stages.images.reader import Entry
from repro.stages.params import Params
from repro.stages.plain import shown


def labels_of(names: list[str], params: Params, data: str) -> tuple[list[str], list[Entry]]:
    """A label for every file name, and the files that the labels were read from.

    Raises:
        StageError: an image has no label, or the CSV file is missing or not as said.
    """
    where = params.get("labels", "folder")
    if where == "folder":
        return _checked([_folder(name) for name in names], names), []
    if where != "csv":
        raise StageError(f'"labels": expected "folder" or "csv", got: "{where}"')
    entry = reader.find_one(params["labels_csv"], data, "labels_csv")
    path, label = params.get("labels_path_column", "path"), params.get("labels_label_column", "label")
    labels = _table(entry, path, label)
    lacking = [name for name in names if name not in labels]
    if lacking:
        raise StageError(
            f'{entry.name}: no row for {len(lacking)} of {len(names)} images, first "{lacking[0]}"; '
            f'column "{path}" holds the paths as spelled here'
        )
    return _checked([labels[name] for name in names], names), [entry]


def _checked(labels: list[str], names: list[str]) -> list[str]:
    """See that every label is one text, and that no two are one to the eye.

    Raises:
        StageError: one is not UTF-8, or two differ only in how Unicode composes their letters; it names the files.
    """
    first: dict[str, tuple[str, str]] = {}
    for label, name in dict(zip(labels, names, strict=True)).items():
        try:
            label.encode()
        except UnicodeEncodeError:
            raise StageError(f"{shown(name)}: the label {shown(label)} is not UTF-8; rename it") from None
        seen, where = first.setdefault(unicodedata.normalize("NFC", label), (label, name))
        if seen != label:
            raise StageError(
                f"the labels {seen!a} ({shown(where)}) and {label!a} ({shown(name)}) are one word composed in "
                "two ways; give both one spelling"
            )
    return labels


def _folder(name: str) -> str:
    folder = posixpath.basename(posixpath.dirname(name))
    if not folder:
        raise StageError(
            f'{name} lies in no folder that could be its label; put a folder a class, or set "labels": "csv"'
        )
    return folder


def _table(entry: Entry, path: str, label: str) -> dict[str, str]:
    """Path -> label."""
    (_, content), *_ = reader.read([entry])
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        columns = rows.fieldnames or []
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise StageError(f"{entry.name}:1: two columns are called {', '.join(map(shown, twice))}")
        if not {path, label} <= set(columns):
            raise StageError(
                f'{entry.name}: columns are {", ".join(columns) or "none"}, not "{path}" and "{label}"; '
                f'set "labels_path_column" and "labels_label_column"'
            )
        return _unique(rows, entry.name, path, label)
    except (UnicodeDecodeError, csv.Error) as error:
        raise StageError(f"{entry.name}: no CSV file in UTF-8: {error}") from error


def _unique(rows: "csv.DictReader[str]", name: str, path: str, label: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for row in rows:
        if None in row or None in row.values():  # more fields than the head, or fewer
            fields = sum(value is not None for key, value in row.items() if key) + len(row.get(None, ()))
            raise StageError(f"{name}:{rows.line_num}: {fields} fields, but the head has {len(rows.fieldnames or ())}")
        if not row[path] or not row[label]:
            raise StageError(f'{name}:{rows.line_num}: a row without "{path}" or "{label}"')
        if labels.setdefault(row[path], row[label]) != row[label]:
            raise StageError(f"{name}:{rows.line_num}: {row[path]} has a second label")
    return labels

"""How configs differ: only the parameters that are not the same everywhere. Pure: no file, no queue.

A cell is what a config says or, where it says nothing, the default that its run used. Two configs differ in a key if
one of them says it and the other does not, even if it says the default: they are two configs, and a default of
tomorrow's code may be another one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from repro.stages.config import Config, Value
from repro.stages.errors import ReproError

LETTERS = re.compile("[a-z]{0,2}")  # that a clone's name has more than its original's
METRIC = "metrics."  # before the name of a metric, which may also be a key


@dataclass(frozen=True)
class Cell:
    """A key's value; `default`: the config does not say it, its run used it nevertheless; `unread`: the config says it,
    and its run ended without having read it."""

    value: Value
    default: bool = False
    unread: bool = False


@dataclass(frozen=True)
class Subject:
    """A config to compare, and what is known of its run.

    Attributes:
        defaults: key -> value that the run used where the config says nothing.
        ancestors: its sources and theirs, the nearest first, each once.
        unread: the keys that its run ended without having read.
    """

    name: str
    config: Config
    defaults: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Value] = field(default_factory=dict)
    ancestors: Sequence["Subject"] = ()
    unread: Sequence[str] = ()

    def cells(self) -> dict[str, Cell]:
        said = {key: Cell(value, unread=key in self.unread) for key, value in self.config.items()}
        return said | {key: Cell(v, default=True) for key, v in self.defaults.items() if key not in said}


@dataclass(frozen=True)
class Row:
    name: str
    cells: Mapping[str, Cell]  # without the keys of which nothing is known
    same: frozenset[str] = frozenset()  # the keys that are as in the base
    relative: bool = False  # to a base


@dataclass(frozen=True)
class Comparison:
    keys: list[str]
    rows: list[Row]


def compare(
    subjects: Sequence[Subject],
    *,
    keep: Iterable[str] = (),
    drop: Iterable[str] = (),
    metrics: bool = False,
    lineage: bool = False,
    base: str | None = None,
    sort: str | None = None,
) -> Comparison:
    """The keys that differ, in the order in which configs say them, and every subject's cells for them.

    Args:
        keep: keys to show although they are the same everywhere; drop: keys not to show.
        metrics: also the figures of the results, behind the keys.
        lineage: also the keys of sources, as `source.key`.
        base: the subject that stands first, and of whose cells the others repeat none.
        sort: a key, or a metric, to go by; with a `-` before it from the largest.

    Raises:
        ReproError: `base` or `sort` name nothing that exists.
    """
    tables = _tables(subjects) if lineage else [subject.cells() for subject in subjects]
    keep, drop = set(keep), set(drop)
    keys = [key for key in _all_keys(tables) if key not in drop and (key in keep or _differs(key, tables))]
    if metrics:
        tables = [table | _metrics(subject) for table, subject in zip(tables, subjects, strict=True)]
        keys += [key for key in _all_keys(_metrics(s) for s in subjects) if key.removeprefix(METRIC) not in drop]
    rows = [Row(s.name, {k: t[k] for k in keys if k in t}) for s, t in zip(subjects, tables, strict=True)]
    if sort:
        rows = _sorted(rows, tables, sort)
    if base:
        rows = _from_base(rows, base, keys)
    return Comparison(keys, rows)


def _all_keys(tables: Iterable[Mapping[str, Cell]]) -> list[str]:
    keys: dict[str, None] = {}
    for table in tables:
        keys |= dict.fromkeys(table)
    return list(keys)


def _differs(key: str, tables: Sequence[Mapping[str, Cell]]) -> bool:
    cells = [table.get(key) for table in tables]
    said = sum(cell is not None and not cell.default for cell in cells)
    return 0 < said < len(cells) or len({repr(cell.value) for cell in cells if cell}) > 1


def _metrics(subject: Subject) -> dict[str, Cell]:
    return {METRIC + name: Cell(value) for name, value in subject.metrics.items()}


def _sorted(rows: list[Row], tables: Sequence[Mapping[str, Cell]], sort: str) -> list[Row]:
    """Numbers by size, then all else by its spelling; rows without the key stay last either way."""
    wanted, descending = sort.removeprefix("-"), sort.startswith("-")
    key = next((k for k in (wanted, METRIC + wanted) if any(k in table for table in tables)), None)
    if key is None and wanted != "name":
        raise ReproError(f"--sort {sort}: no config has this key; there are: {', '.join(_all_keys(tables))}")
    cells = [Cell(row.name) if key is None else table.get(key) for row, table in zip(rows, tables, strict=True)]
    known = [(_rank(cell.value), row) for cell, row in zip(cells, rows, strict=True) if cell]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [row for _, row in known] + [row for cell, row in zip(cells, rows, strict=True) if not cell]


def _rank(value: Value) -> tuple[int, float, str]:
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))


def _from_base(rows: list[Row], base: str, keys: list[str]) -> list[Row]:
    if (first := next((row for row in rows if row.name == base), None)) is None:
        raise ReproError(f"--base {base}: is none of those compared: {', '.join(row.name for row in rows)}")
    others = [row for row in rows if row is not first]
    return [first, *(Row(row.name, row.cells, _same(row, first, keys), relative=True) for row in others)]


def _same(row: Row, other: Row, keys: list[str]) -> frozenset[str]:
    return frozenset(key for key in keys if repr(row.cells.get(key)) == repr(other.cells.get(key)))


def _tables(subjects: Sequence[Subject]) -> list[dict[str, Cell]]:
    """Each subject's cells and those of its sources, under the name of the source's role."""
    roles = [_roles(subject) for subject in subjects]
    prefixes = _prefixes(roles)
    return [
        subject.cells()
        | {f"{prefixes[role]}.{key}": cell for role, source in of.items() for key, cell in source.cells().items()}
        for subject, of in zip(subjects, roles, strict=True)
    ]


Role = tuple[str, int]  # the stage of a source, and how many of that stage are nearer


def _roles(subject: Subject) -> dict[Role, Subject]:
    roles: dict[Role, Subject] = {}
    for source in subject.ancestors:
        stage = str(source.config.get("stage", ""))
        roles[stage, sum(of == stage for of, _ in roles)] = source
    return roles


def _prefixes(roles: Sequence[Mapping[Role, Subject]]) -> dict[Role, str]:
    """What sources of one role are called together: `augmentation` for augmentation, augmentationa and -b; else by
    their stage, or by stage and number where that is taken."""
    names: dict[Role, dict[str, None]] = {}
    for of in roles:
        for role, source in of.items():
            names.setdefault(role, {})[source.name] = None
    prefixes: dict[Role, str] = {}
    for (stage, number), called in names.items():
        shared = shared_prefix(called)
        lettered = shared and all(LETTERS.fullmatch(name, len(shared)) for name in called)
        prefix = shared if lettered else stage
        prefixes[stage, number] = f"{stage}{number + 1}" if prefix in prefixes.values() else prefix
    return prefixes


def shared_prefix(names: Iterable[str]) -> str:
    """What all these names begin with."""
    first, last = min(names), max(names)  # in between no name can share less
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]

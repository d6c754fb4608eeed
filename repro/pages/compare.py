"""Some runs side by side: the keys in which they differ, curves, figures over keys, and files of the same path."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from repro.pages import chosen, curves
from repro.pages.file_kinds import kind
from repro.readers.named_configs import Reader
from repro.scheduler.configs.comparison import METRIC, Comparison, Row, compare
from repro.scheduler.queue import lookup
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ConfigError, ReproError, Unreachable
from repro.stages.plain import is_finite
from repro.views import comparison_table
from repro.worker.store.outputs import outputs_of

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue
    from repro.worker.store.store import Store

T = TypeVar("T")

TABS = ("diff", "curves", "scatter", "parallel", "files")
MOST_AXES = 8  # of parallel coordinates, with the figure
MOST_PATHS = 1000  # files to choose from
LINES, BYTES = 200, 64 * 1024  # of a text that is shown beside others
AT_ONCE = 16  # files that are read
OUTPUTS = {"state": 1, "location": 1, "outputs": 1, "outputs_total": 1}


@dataclass(frozen=True)
class Query:
    """What is compared, and how.

    Attributes:
        x, y: the key and the figure of the scatter; `log_x`, `log_y`: with a logarithmic axis.
        axes: the keys of the parallel coordinates; `figure`: what colours them.
        path: the file that is shown of each run.
    """

    names: Sequence[str] = ()
    tab: str = "diff"
    sort: str = ""
    base: str = ""
    figures: Sequence[str] = ()
    x: str = ""
    y: str = ""
    log_x: bool = False
    log_y: bool = False
    axes: Sequence[str] = ()
    path: str = ""

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: there is no such tab, or they are too many axes.
        """
        if self.tab not in TABS:
            raise ConfigError(f"tab={self.tab[:40]}: the tabs are {', '.join(TABS)}")
        if len(self.axes) >= MOST_AXES:
            raise ConfigError(f"{len(self.axes)} axes: at most {MOST_AXES - 1} keys have room beside the figure")


def view(db: "Queue", open_store: "Callable[[], Store]", query: Query) -> dict[str, Any]:
    """`names`, `tab`, and what the tab shows; only the tab and `names` where nothing is chosen.

    Raises:
        ReproError: there is no such run, or the store can't be reached.
    """
    names = chosen.names(db, query.names)
    shown: dict[str, Any] = {"now": server_time(db), "names": names, "tab": query.tab}
    if not names:
        return shown
    if query.tab == "curves":
        return {**shown, **curves.summary(db, open_store, names, query.figures)}
    if query.tab == "files":
        return shown | files(db, open_store(), names, query.path)
    comparison = compared(db, names, query)
    if query.tab == "scatter":
        return shown | scatter(comparison, query)
    if query.tab == "parallel":
        return shown | parallel(comparison, query)
    return shown | {"keys": comparison.keys, "configs": configs(comparison)}


def compared(db: "Queue", names: Sequence[str], query: Query) -> Comparison:
    """The runs' keys that differ, and their figures.

    Raises:
        ConfigError: `sort` or `base` name nothing that is compared.
        ReproError: there is no such run.
    """
    subjects = Reader(lambda: db).subjects(names)
    try:
        return compare(subjects, metrics=True, base=query.base or None, sort=query.sort or None)
    except ReproError as error:
        raise ConfigError(str(error)) from error


def configs(comparison: Comparison) -> list[dict[str, Any]]:
    """As `repro diff --json`; also `unread`, and `same` (the keys that are as in the base, and say nothing new)."""
    return [
        told
        | {
            "unread": [key for key, cell in row.cells.items() if cell.unread],
            "same": [key for key in comparison.keys if key in row.same and key in row.cells],
        }
        for told, row in zip(comparison_table.as_json(comparison), comparison.rows, strict=True)
    ]


def cell(config: Mapping[str, Any], key: str) -> tuple[Any, str]:
    """What a config of a comparison has under a key, and of what kind it is: `said`, `default`, `unread`, `same`, or
    empty where nothing is known."""
    if key in config["same"]:
        return None, "same"
    values = config["values"] if not key.startswith(METRIC) else config.get("metrics", {})
    own = key.removeprefix(METRIC) if values is not config["values"] else key
    if own not in values:
        return None, ""
    return values[own], "default" if key in config["defaults"] else "unread" if key in config["unread"] else "said"


def scatter(comparison: Comparison, query: Query) -> dict[str, Any]:
    """`keys` to choose from, `x`, `y`, and `points`: of every run its name and its value of both, None if it has none.

    Raises:
        ConfigError: no run has such a key.
    """
    keys = [*comparison.keys]
    x = query.x or next((key for key in keys if not key.startswith(METRIC)), "") or (keys[0] if keys else "")
    y = query.y or _figure(comparison, but=x) or (keys[-1] if keys else "")
    _check(comparison, [x, y])
    points = [{"name": row.name, "x": _value(row, x), "y": _value(row, y)} for row in comparison.rows]
    return {"keys": keys, "x": x, "y": y, "points": points}


def parallel(comparison: Comparison, query: Query) -> dict[str, Any]:
    """`keys` to choose from, `axes` (the figure last), and `lines`: of every run its name and its values on them.

    Raises:
        ConfigError: no run has such a key.
    """
    figure = query.y or _figure(comparison)
    keys = [key for key in comparison.keys if not key.startswith(METRIC)]
    axes = [*(list(query.axes) or keys[: MOST_AXES - 1]), *([figure] if figure else [])]
    _check(comparison, axes)
    lines = [{"name": row.name, "values": [_value(row, key) for key in axes]} for row in comparison.rows]
    return {"keys": comparison.keys, "axes": axes, "figure": figure, "lines": lines}


def _check(comparison: Comparison, keys: Sequence[str]) -> None:
    if wrong := [key for key in keys if key and key not in comparison.keys]:
        raise ConfigError(f"{wrong[0][:80]}: the runs do not differ in this key, and have no such figure")


def _figure(comparison: Comparison, but: str = "") -> str:
    """The first figure of which most is known as finite numbers; empty if there is none."""
    known = Counter[str]()
    for row in comparison.rows:
        known.update(key for key in comparison.keys if key.startswith(METRIC) and is_finite(_value(row, key)))
    return max((key for key in known if key != but), key=lambda key: known[key], default="")


def _value(row: Row, key: str) -> Any:
    return row.cells[key].value if key in row.cells else None


def files(db: "Queue", store: "Store", names: Sequence[str], path: str) -> dict[str, Any]:
    """`paths` of outputs that several of the runs have (of one run alone: all), `path`, and `files`: of each run that
    has it its size and sum, and of a text the first `lines` and whether there are `more`.

    Raises:
        ReproError: no run has such a file, or the store can't be reached.
    """
    found_runs = {run["_id"]: run for run in lookup.runs(db, names, OUTPUTS)}
    outputs = _of_each(found_runs, lambda run: _outputs(store, run))
    found = Counter(one for by_path in outputs.values() for one in by_path)
    paths = [one for one, count in found.items() if count > 1 or len(names) == 1]
    shown = path or next((one for one in paths if kind(one) == "picture"), next(iter(paths), ""))
    if shown and shown not in found:
        raise ReproError("none of the runs has an output of this name")
    having = {name: by_path[shown] for name, by_path in outputs.items() if shown in by_path}
    places = {name: (found_runs[name]["location"], output) for name, output in having.items()}
    texts = _of_each(places, lambda place: _text(store, *place)) if kind(shown) == "text" else {}
    return {
        "paths": paths[:MOST_PATHS],
        "more_paths": max(0, len(paths) - MOST_PATHS),
        "path": shown,
        "kind": kind(shown),
        "files": [
            {"run": name, "size": one["size"], "sha256": one["sha256"]} | texts.get(name, {})
            for name, one in having.items()
        ],
        "without": [name for name in names if shown not in outputs[name]],
    }


def _outputs(store: "Store", run: "RunDocument") -> dict[str, dict[str, Any]]:
    """By their paths."""
    done = run["state"] in ("done", "verified")
    return {output["path"]: output for output in outputs_of(store, run)} if done else {}


def _text(store: "Store", location: str, output: dict[str, Any]) -> dict[str, Any]:
    data = store.read_range(output, location, 0, min(BYTES, output["size"]))
    lines = data.decode("utf-8", "replace").splitlines()
    return {"lines": lines[:LINES], "more": len(lines) > LINES or output["size"] > len(data)}


def _of_each(items: Mapping[str, T], read: Callable[[T], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is read of each run; many at once, for all wait for the store.

    Raises:
        Unreachable: a file of one can't be read.
    """

    def one(name: str, item: T) -> dict[str, Any]:
        try:
            return read(item)
        except OSError as error:
            raise Unreachable(f"the files of {name} can't be read: {error.strerror or error}") from error

    with ThreadPoolExecutor(AT_ONCE) as threads:
        futures = {name: threads.submit(copy_context().run, one, name, item) for name, item in items.items()}
    return {name: future.result() for name, future in futures.items()}

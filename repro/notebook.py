"""What `import repro` offers: the commands' work as Python objects, for notebooks and scripts.

The queue, the store and the home are those of the environment, as for the commands (`REPRO_MONGO_URL`...).
"""

import hashlib
import io
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from repro.readers.named_configs import Reader
from repro.readers.queue_access import connect
from repro.readers.run_ends import as_they_end
from repro.readers.shipping import shipper
from repro.scheduler.configs import comparison
from repro.scheduler.configs.comparison import METRIC
from repro.scheduler.lists import listing
from repro.scheduler.queue import lookup
from repro.scheduler.queue import submission as scheduler
from repro.scheduler.settings import Settings
from repro.stages.errors import ConfigError, ReproError, StageError
from repro.stages.own_files import MANIFEST
from repro.worker.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from repro.scheduler.server.connection import Queue

FACTS = ("stage", "state", "location", "submitted_at", "finished_at")  # columns that are no keys of configs


@dataclass(frozen=True)
class Run:
    """A run as it was when it was asked for.

    Attributes:
        document: all that the queue knows of it.
    """

    name: str
    document: Mapping[str, Any]

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.document["config"])

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.document.get("metrics") or {})

    @property
    def unread(self) -> list[str]:
        """Keys of its config that it ended without having read."""
        return list(self.document.get("unread", ()))

    @property
    def location(self) -> str | None:
        return self.document.get("location")

    @property
    def outputs(self) -> list[str]:
        """The names of its result files; none before it is done."""
        return [output["path"] for output in self._outputs()]

    def open(self, name: str, mode: str = "r") -> IO[Any]:
        """A result file, read whole and checked against the SHA-256 that was recorded; mode "r" or "rb".

        Raises:
            StageError: the run has no such file, or it is not as it was recorded.
        """
        if mode not in ("r", "rb"):
            raise ValueError(f'open({name!r}, {mode!r}): a result is only read, with "r" or "rb"')
        output = next((one for one in self._outputs() if one["path"] == name), None)
        if output is None:
            raise StageError(f"{self.name} has no output {name}; it has: {', '.join(self.outputs) or 'none'}")
        place = output.get("location")
        data = _store().read(place, "") if place else _store().read(str(self.location), name)
        if (digest := hashlib.sha256(data).hexdigest()) != output["sha256"]:
            raise StageError(f"{self.name}: {name} has changed in the store: SHA-256 {digest}, not {output['sha256']}")
        return io.StringIO(data.decode()) if mode == "r" else io.BytesIO(data)

    def _outputs(self) -> list[dict[str, Any]]:
        if "outputs_total" in self.document:  # the document holds only some of them
            return list(json.loads(_store().read_own(str(self.location), MANIFEST))["outputs"])
        return list(self.document.get("outputs") or [])


def run(name: str) -> Run:
    """One run of the queue.

    Raises:
        ReproError: there is none of that name.
    """
    return Run(name, lookup.run(_queue(), name))


def find(*names: str, limit: int = 50, **words: Any) -> list[Run]:
    """Runs as `repro status` finds them, in its order or another one.

    Args:
        words: `where` and `tags` (several), `sort`, `states`, `stages`, as in `repro status`: `where=["lr>1e-3"]`,
            `sort="-metrics.accuracy"`.

    Raises:
        ConfigError: a word says nothing.
    """
    from repro.pages.runs import Query
    from repro.scheduler.lists import pages

    query = Query(names=names, limit=limit, **words)
    return [Run(one["_id"], one) for one in pages.page(_queue(), query.only, query.sort, limit=limit, whole=True).rows]


def search(name: str) -> dict[str, Any]:
    """A search as its page has it: `state`, `why` (how far it is), `best`, `figure`, `importance` of each parameter,
    and `rows`, the best first: of each run its `name`, `trial`, `rung`, `state`, `figure`, `values`.

    Raises:
        ReproError: there is no search of that name.
    """
    from repro.pages import searches

    return searches.view(_queue(), name)


def overview() -> dict[str, Any]:
    """The queue at a glance, as the first page of `repro ui` has it: `counts`, `running`, `waiting` by why, `failures`,
    `workers`.
    """
    from repro.pages import home

    return home.view(_queue())


def frame(where: Mapping[str, Any] | str | Sequence[str] | None = None) -> "pd.DataFrame":
    """Runs as a table, a row each, the name as index: facts, keys of the configs, `metrics.` and the result's figures.

    Args:
        where: a filter of MongoDB (`{"state": "done", "config.arch": "resnet"}`), a name or a pattern, or several;
            None takes all. A key of a config that is called like a fact stands as `config.KEY`.
    """
    pandas, rows = _pandas(), list[dict[str, Any]]()
    names = [where] if isinstance(where, str) else where
    guard = dict(where) if isinstance(where, Mapping) else listing.Only(patterns=tuple(names or ())).guard()
    for document in lookup.matching(_queue(), guard, [*FACTS, "config", "metrics"]):
        config = {f"config.{k}" if k in FACTS else k: v for k, v in document["config"].items() if k != "stage"}
        metrics = {METRIC + key: value for key, value in (document.get("metrics") or {}).items()}
        rows.append({"name": document["_id"]} | {k: document.get(k) for k in FACTS} | config | metrics)
    return pandas.DataFrame(rows, columns=None if rows else ["name", *FACTS]).set_index("name")


def diff(*names: str, **options: Any) -> "pd.DataFrame":
    """Only what differs between runs, files or folders; options are those of `scheduler/configs/comparison.py`."""
    subjects = Reader(_queue).subjects(names, options.get("lineage", False))
    table = comparison.compare(subjects, **options)
    rows = [{k: row.cells[k].value if k in row.cells else None for k in table.keys} for row in table.rows]
    index = _pandas().Index([row.name for row in table.rows], name="name")
    return _pandas().DataFrame(rows, columns=table.keys, index=index)


def curves(*names: str, figures: Sequence[str] = ()) -> "pd.DataFrame":
    """The points of the losses, or of other figures, of runs: name, figure, unit, at, value."""
    from repro.readers.curve_reader import Finder

    curve_set = Finder(Reader(_queue), _store).find(names, figures)
    rows = [(c.run, c.figure, c.unit, x, y) for c in curve_set.curves for x, y in zip(c.x, c.y, strict=True)]
    return _pandas().DataFrame(rows, columns=["name", "figure", "unit", "at", "value"])


def submit(
    *configs: str | Path,
    changes: Mapping[str, Any] | None = None,
    name: str | None = None,
    here: bool = False,
    **options: Any,
) -> list[Run]:
    """Submit config files, their sources first; returns the runs, sources too.

    Args:
        changes: laid over each of the configs; the run then gets the next letter, or `name`.
        here: do not send the code with the runs: each takes what lies where its worker was started.
        options: priority, tags, time_limit, stall_limit, max_attempts, held, hermetic, needs (`submission.Options`).

    Raises:
        ConfigError: something is wrong, an option's name or range too; nothing was inserted.
    """
    change = scheduler.Change(json.dumps(dict(changes)) if changes is not None else None, name=name)
    known = [field.name for field in fields(scheduler.Options)]
    if unknown := next((name for name in options if name not in known), None):
        near = get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise ConfigError(f"submit has no option {unknown}; {hint}")
    paths, ship = [Path(config) for config in configs], shipper(_queue(), here)
    made = scheduler.submit(_queue(), paths, change, scheduler.Options(**options), ship)
    return [run(one.name) for one in made]


def wait(*names: str | Run, timeout: float | None = None) -> list[Run]:
    """Wait until runs have ended.

    Raises:
        RunFailed: one of them failed, was cancelled, or did not end in time.
    """
    plain = [one.name if isinstance(one, Run) else one for one in names]
    deque(as_they_end(_queue(), plain, timeout), maxlen=0)
    return [run(name) for name in plain]


def _queue() -> "Queue":
    return _connected(Settings.read())


@cache
def _connected(settings: Settings) -> "Queue":
    """One client a process and queue, however many cells of a notebook ask."""
    return connect()


def _store() -> Store:
    settings = Settings.read()
    return Store.open(settings.store, settings.home)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ReproError('a table needs pandas: pip install "repro-queue[notebook]"') from error
    return pandas

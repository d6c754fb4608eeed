"""Which configs are near each other: a dendrogram of the runs of a list, coloured by a figure."""

from typing import TYPE_CHECKING, Any

from repro.pages.runs import FIELDS, Query
from repro.readers.curve_reader import labels
from repro.readers.named_configs import of_run
from repro.scheduler.configs import dendrogram
from repro.scheduler.lists import pages
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ConfigError
from repro.views import figure_file, tree_plot

if TYPE_CHECKING:
    from repro.scheduler.configs.comparison import Subject
    from repro.scheduler.server.connection import Queue

MOST = 100  # runs


def view(db: "Queue", query: Query, metric: str = "") -> dict[str, Any]:
    """`tree` (as `repro tree --json`), `labels` of the runs, `figures` by which they can be coloured.

    Raises:
        ConfigError: no run has this figure.
    """
    subjects = _subjects(db, query)
    known = sorted({name for subject in subjects for name in subject.metrics})
    if metric and metric not in known:
        raise ConfigError(f"metric {metric!r}: none of these runs has it; there are: {', '.join(known) or 'none'}")
    tree = None
    if len(subjects) > 1:
        tree = tree_plot.as_json(dendrogram.cluster(subjects), _figures(subjects, metric))
    return {
        "now": server_time(db),
        "tree": tree,
        "labels": labels(subjects),
        "metric": metric,
        "metrics": known,
        "names": [subject.name for subject in subjects],
    }


def picture(db: "Queue", query: Query, metric: str = "") -> bytes:
    """The same as a PNG.

    Raises:
        ReproError: there are fewer than two runs.
    """
    subjects = _subjects(db, query)
    root, figures = dendrogram.cluster(subjects), _figures(subjects, metric)
    size = (11, max(2.5, 0.24 * len(subjects) + 1))
    return figure_file.png(lambda figure: tree_plot.draw(figure, root, labels(subjects), figures, metric), size)


def _subjects(db: "Queue", query: Query) -> "list[Subject]":
    found = pages.page(db, query.only, query.sort, limit=MOST, fields=FIELDS)
    return [of_run(run) for run in found.rows]


def _figures(subjects: "list[Subject]", metric: str) -> dict[str, float]:
    values = {subject.name: subject.metrics.get(metric) for subject in subjects} if metric else {}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}

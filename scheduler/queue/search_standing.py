"""A search as its documents have it: what its config means, its runs, what each has come to."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from repro.scheduler.runs import RunDocument, State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search import base_check, engine, search_config, trials
from repro.scheduler.search.engine import Replay
from repro.scheduler.search.importance import importance as measured
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.space import Point
from repro.scheduler.search.trials import Job, Key
from repro.scheduler.server.connection import Queue
from repro.stages.config import Config
from repro.stages.plain import is_finite

AT_FAULT = "StageError"  # the type of error of a run whose config is at fault: its result is the worst
OF_TRIALS = dict.fromkeys(
    ("state", "metrics", "error", "config", "trial", "rung", "fingerprint", "proposed_by", "search"), 1
)


class Unfit(Exception):
    """The search can't go on; the message says why."""


@dataclass(frozen=True)
class Standing:
    """A search as its documents have it.

    Attributes:
        given: its sources; the first is the one that is to be improved on.
        ours: name -> document of each of its runs.
    """

    run: RunDocument
    search: Search
    given: Sequence[RunDocument]
    ours: Mapping[str, RunDocument]

    @property
    def name(self) -> str:
        return self.run["_id"]

    @property
    def source(self) -> RunDocument:
        return self.given[0]

    @cached_property
    def base(self) -> Config:
        """The source's values of what is searched."""
        return base_check.base_values(self.search, self.source["config"], used_by(self.source))

    @cached_property
    def known(self) -> dict[int, Config]:
        """Trial -> the values that were proposed for it; those of the other sources, too."""
        others = {-number: values_of(run, self.search) for number, run in enumerate(self.given) if number}
        return others | {run["trial"]: values_of(run, self.search) for run in self.ours.values()}

    def place(self, run: RunDocument) -> Key:
        """A run's trial and rung; the sources are trial 0 and below."""
        if run["_id"] in self.ours:
            return run["trial"], run["rung"]
        return -[one["_id"] for one in self.given].index(run["_id"]), None

    @cached_property
    def results(self) -> dict[Key, float]:
        """What the engine knows of each run that has ended.

        Raises:
            Unfit: one that is done has no such figure.
        """
        found = {self.place(run): figure_of(run, self.search.metric) for run in self.given}
        for run in self.ours.values():
            if run["state"] == State.DONE:
                found[run["trial"], run["rung"]] = figure_of(run, self.search.metric)
            elif is_at_fault(run, self.search):
                found[run["trial"], run["rung"]] = engine.WORST
        return found

    def replay(self) -> Replay:
        """Where the search stands."""
        return engine.replay(self.search, self.base, self.results, self.known)

    def name_of(self, job: Job) -> str:
        return trials.name_of(job, self.search, self.name)


def standing(db: Queue, run: RunDocument) -> Standing | None:
    """None as long as one of its sources is not done."""
    search = search_config.parse(run["config"], run["_id"])
    names = [search.source, *search.others]
    done = {one["_id"]: one for one in collection(db).find({"_id": {"$in": names}, "state": State.DONE.value})}
    if len(done) < len(names):
        return None
    ours = {one["_id"]: one for one in collection(db).find({"search": run["_id"]}, OF_TRIALS)}
    return Standing(run, search, [done[name] for name in names], ours)


def used_by(run: RunDocument) -> Config:
    """What a done run has used, defaults too; not what today's code would: every worker is to propose the same."""
    return {key: told["value"] for key, told in run.get("params", {}).items()}


def values_of(run: RunDocument, search: Search) -> Config:
    """A run's values of what is searched."""
    known = used_by(run) | run["config"]
    return {key: known[key] for key in search.choices if key in known}


def figure_of(run: RunDocument, metric: str) -> float:
    """
    Raises:
        Unfit: there is none; the nearest name is offered.
    """
    metrics = run.get("metrics", {})
    value = metrics.get(metric)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if metric in metrics:
        raise Unfit(f'"metric": {metric} of {run["_id"]} is no number: {json.dumps(value)}')
    near = difflib.get_close_matches(metric, metrics, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(metrics)) or 'none'}"
    raise Unfit(f'"metric": {run["_id"]} has no figure {metric}; {hint}')


def is_at_fault(run: RunDocument, search: Search) -> bool:
    """Whether an ended run tells that its config is bad; what else ends a run, such as a lost worker, tells nothing."""
    if run["state"] not in (State.FAILED, State.CANCELLED):
        return False
    of_config = run["state"] == State.FAILED and run["error"].get("type") == AT_FAULT
    return of_config or search.failures == "all"


def differences(stands: Standing) -> list[str]:
    """An audit: the names of the runs whose values would be proposed otherwise today, from the same results."""
    found = engine.differences(stands.search, stands.base, stands.results, stands.known)
    return sorted(name for name, run in stands.ours.items() if run["trial"] in found)


def importance(stands: Standing) -> dict[str, float]:
    """Parameter -> its share in what makes the best trials the best (`scheduler.search.importance`)."""
    space, points = stands.search.space, dict[int, Point | None]()
    for run in ranking(stands):
        if run["state"] == State.DONE:
            points.setdefault(stands.place(run)[0], space.point(values_of(run, stands.search)))
    return measured(space, [point for point in points.values() if point is not None])


def ranking(stands: Standing) -> list[RunDocument]:
    """The search's runs and its sources, the best whole run first, those without a result last."""
    sign = 1 if stands.search.minimize else -1

    def key(run: RunDocument) -> tuple[Any, ...]:
        value = run.get("metrics", {}).get(stands.search.metric)
        is_known = run["state"] == State.DONE and is_finite(value)
        trial, rung = stands.place(run)
        return not is_known, -(rung or math.inf), sign * float(value) if is_known else 0.0, trial  # type: ignore[arg-type]

    return sorted([*stands.given, *stands.ours.values()], key=key)

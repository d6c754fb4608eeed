"""Searches in the queue. There is no driver: whoever submits one, ends one of its runs or heals calls `advance`, which
inserts what the engine asks for. What that is follows from the documents alone, so it does not matter who calls it,
when, or how many at once: the first insert of a name stands, and the others find there what they would have inserted.
"""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from repro.scheduler import runs
from repro.scheduler.configs.variations import Span
from repro.scheduler.queue import lookup
from repro.scheduler.runs import FINAL, RunDocument, State, Trials
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search import base_check, engine, search_config, trials
from repro.scheduler.search.engine import Replay
from repro.scheduler.search.importance import importance as measured
from repro.scheduler.search.search_config import STAGE, Search
from repro.scheduler.search.space import Point
from repro.scheduler.search.trials import Job, Key
from repro.scheduler.server.connection import Document, Queue
from repro.stages import config as configs
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError
from repro.stages.plain import is_finite
from repro.stages.source import provenance, registry

AT_FAULT = "StageError"  # the type of error of a run whose config is at fault: its result is the worst
OF_SUBMIT = (
    "priority",
    "tags",
    "max_attempts",
    "time_limit",
    "stall_limit",
    "hermetic",
    "needs",
    "code",
    "submitted_by",
)
OF_TRIALS = dict.fromkeys(
    ("state", "metrics", "error", "config", "trial", "rung", "fingerprint", "proposed_by", "search"), 1
)


class Unfit(Exception):
    """The search can't go on; the message says why."""


class Proposed(Exception):
    """Another version of this program has proposed otherwise; the message says which."""


@dataclass(frozen=True)
class Standing:
    """A search as its documents have it.

    Attributes:
        ours: name -> document of each of its runs.
        base: the source's values of what is searched.
    """

    run: RunDocument
    search: Search
    source: RunDocument
    ours: Mapping[str, RunDocument]
    base: Config

    @property
    def name(self) -> str:
        return self.run["_id"]

    @property
    def known(self) -> dict[int, Config]:
        """Trial -> the values that were proposed for it."""
        return {
            run["trial"]: {key: value for key, value in run["config"].items() if key in self.search.choices}
            for run in self.ours.values()
        }

    @property
    def results(self) -> dict[Key, float]:
        """What the engine knows of each run that has ended.

        Raises:
            Unfit: one that is done has no such figure.
        """
        found: dict[Key, float] = {(0, None): figure_of(self.source, self.search.metric)}
        for run in self.ours.values():
            if run["state"] == State.DONE:
                found[run["trial"], run["rung"]] = figure_of(run, self.search.metric)
            elif is_at_fault(run, self.search):
                found[run["trial"], run["rung"]] = engine.WORST
        return found

    def replay(self, afresh: bool = False) -> Replay:
        """Where the search stands; `afresh`: with everything proposed anew."""
        return engine.replay(self.search, self.base, self.results, {} if afresh else self.known)

    def name_of(self, job: Job) -> str:
        return trials.name_of(job, self.search, self.name)


def standing(db: Queue, run: RunDocument) -> Standing | None:
    """None as long as its source is not done."""
    search = search_config.parse(run["config"], run["_id"])
    source = collection(db).find_one({"_id": search.source})
    if source is None or source["state"] != State.DONE:
        return None
    ours = {one["_id"]: one for one in collection(db).find({"search": run["_id"]}, OF_TRIALS)}
    # What the source has used, not what today's code would: every worker is to propose the same.
    used = {key: told["value"] for key, told in source.get("params", {}).items()}
    return Standing(run, search, source, ours, base_check.base_values(search, source["config"], used))


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


def advance(db: Queue, name: str) -> None:
    """Insert what the search asks for next; end it when nothing is to come any more."""
    while run := collection(db).find_one({"_id": name, "state": State.WAITING.value, "held": {"$ne": True}}):
        stands = standing(db, run)
        if stands is None:
            return
        try:
            _check_others(stands)
            replayed = stands.replay()
            fresh = [job for job in replayed.jobs if stands.name_of(job) not in stands.ours]
            if fresh and _insert(db, stands, fresh):
                continue
            _note(db, stands, replayed)
            if replayed.over:
                _end(db, stands, replayed)
            return
        except Unfit as unfit:
            runs.give_up(db, name, {"type": "SearchError", "message": str(unfit)})
            return
        except Proposed as proposed:
            runs.pause(db, name, str(proposed))
            return


def _check_others(stands: Standing) -> None:
    """See that this version proposes what another one has, of what that has proposed last.

    Raises:
        Proposed: it does not.
    """
    ours = version()
    others = [run for run in stands.ours.values() if run.get("proposed_by", ours) != ours]
    if not others:
        return
    last = max(others, key=lambda run: run["trial"])
    known = {trial: values for trial, values in stands.known.items() if trial != last["trial"]}
    jobs = engine.replay(stands.search, stands.base, stands.results, known).jobs
    values = next((job.values for job in jobs if job.trial == last["trial"]), None)
    if values is None or configs.canonical(values) != configs.canonical(stands.known[last["trial"]]):
        raise Proposed(_told(last))


def version() -> str:
    """What proposes here: the product's version and the SHA-256 of its engine and samplers."""
    return f"repro-queue {provenance.versions().get('repro-queue')} ({provenance.digest(engine.__name__)[:12]})"


def _told(there: RunDocument) -> str:
    return (
        f"{there['_id']} was proposed by {there.get('proposed_by', 'an earlier version')} and would be another one by "
        f"{version()}; the first one stands. Give all workers one version, then: repro unhold {there.get('search')}"
    )


def _insert(db: Queue, stands: Standing, jobs: Sequence[Job]) -> bool:
    """Whoever else inserts them at the same moment inserts the same. Returns whether it is worth another look: some
    were done at once, or there already.

    Raises:
        Unfit: a name is taken by a run that is none of the search's.
    """
    documents = [_document(db, stands, job) for job in jobs]
    equal = lookup.equal(db, [run["fingerprint"] for run in documents])
    computed = [run for run in documents if run["fingerprint"] not in equal]
    adopted = [(run, equal[run["fingerprint"]]) for run in documents if run["fingerprint"] in equal]
    taken = runs.adopt(db, adopted) + (runs.submit(db, computed) if computed else [])
    for run in documents:
        if run["_id"] in taken:
            _settle_taken(db, stands, run)
    return bool(taken or adopted)


def _settle_taken(db: Queue, stands: Standing, run: RunDocument) -> None:
    there = collection(db).find_one({"_id": run["_id"]}, {"fingerprint": 1, "search": 1, "proposed_by": 1})
    if there is None:  # not inserted yet, for one before it was taken: the next look inserts it
        return
    if there["fingerprint"] == run["fingerprint"] and there.get("search") in (None, stands.name):
        runs.join(db, run)
    elif there.get("search") == stands.name:
        raise Proposed(_told(there))
    else:
        raise Unfit(f"the name {run['_id']} is taken by another run; submit the search under another name")


def _document(db: Queue, stands: Standing, job: Job) -> RunDocument:
    config = trials.config_of(job, stands.search, stands.source["config"])
    above = lookup.identities(db, stands.source["sources"])
    prints = {name: source["fingerprint"] for name, source in above.items()}
    said = cast("Document", stands.run)
    options = {field: said[field] for field in OF_SUBMIT if field in said}
    options |= {"held": said.get("needs") or False}
    if allowed := stands.source.get("allow_unknown"):
        options["allow_unknown"] = allowed
    place = {"search": stands.name, "trial": job.trial, "rung": job.rung, "proposed_by": version()}
    waiting = [name for name, source in above.items() if source["state"] != State.DONE]
    return runs.document(
        stands.name_of(job),
        config,
        configs.fingerprint(config, prints),
        stands.source["sources"],
        waiting,
        **options,
        **place,
    )


def _note(db: Queue, stands: Standing, replayed: Replay) -> None:
    """How far it is, for who looks and for who heals."""
    ended = dict.fromkeys((State.DONE, State.FAILED, State.CANCELLED), 0)
    for run in stands.ours.values():
        if run["state"] in ended:
            ended[State(run["state"])] += 1
    noted: Trials = {"done": ended[State.DONE], "failed": ended[State.FAILED], "cancelled": ended[State.CANCELLED]}
    noted["begun"], noted["trials"] = len(replayed.jobs), stands.search.trials
    noted["missing"] = sorted(
        run["_id"]
        for run in stands.ours.values()
        if run["state"] in (State.FAILED, State.CANCELLED) and not is_at_fault(run, stands.search)
    )
    if replayed.best:
        noted["best"], noted["figure"] = stands.name_of(replayed.best), stands.results[replayed.best.key]
    runs.note_trials(db, stands.name, noted)


def _end(db: Queue, stands: Standing, replayed: Replay) -> None:
    if replayed.winner is None:
        raise Unfit(f"no run has a {stands.search.metric} that is a finite number")
    winner = lookup.run(db, stands.name_of(replayed.winner))
    figure = stands.results[replayed.winner.key]
    why = f"the best of {len(replayed.jobs) + 1} runs is {winner['_id']} with {stands.search.metric} {figure:.6g}"
    if runs.conclude(db, stands.name, winner, why):
        runs.release_children(db, [stands.name])


def begun_by(db: Queue, source: str) -> list[str]:
    """The searches that wait for a run to be improved on."""
    guard = {"state": State.WAITING.value, "stage": STAGE, "sources": source}
    return [run["_id"] for run in collection(db).find(guard, {"_id": 1})]


def runs_of(db: Queue, names: Sequence[str], states: Sequence[State]) -> list[str]:
    """The names of runs of these searches in these states."""
    guard = {"search": {"$in": list(names)}, "state": {"$in": [state.value for state in states]}}
    return [run["_id"] for run in collection(db).find(guard, {"_id": 1}).sort("_id")] if names else []


def due(db: Queue) -> list[str]:
    """The searches that somebody should have advanced: their source has ended, or more of their runs than they know."""
    guard = {"state": State.WAITING.value, "stage": STAGE, "held": {"$ne": True}, "waiting_for": {"$size": 1}}
    known = {run["_id"]: run.get("trials") for run in collection(db).find(guard, {"trials": 1})}
    if not known:
        return []
    states = [state.value for state in FINAL]
    match = {"search": {"$in": list(known)}, "state": {"$in": states}}
    group = {"_id": {"search": "$search", "state": "$state"}, "count": {"$sum": 1}}
    ended: dict[str, dict[str, int]] = {name: {} for name in known}
    for found in db.runs.aggregate([{"$match": match}, {"$group": group}]):
        ended[found["_id"]["search"]][found["_id"]["state"]] = found["count"]
    return [name for name, told in known.items() if told is None or _differs(told, ended[name])]


def _differs(told: Trials, ended: Mapping[str, int]) -> bool:
    return any(told.get(state.value, 0) != ended.get(state.value, 0) for state in (*FINAL[:3],))


def check(config: Config, base: Config, where: str, name: str) -> None:
    """See that a search fits the config of its source, and that today's code of its stage takes all that it may try.

    Raises:
        ConfigError: it does not; the message names the key.
    """
    search, stage = search_config.parse(config, where), str(base.get("stage"))
    if stage == STAGE:
        raise ConfigError(
            f'{where}: "source": {search.source} is a search itself; name the run that is to be improved on'
        )
    defaults = {key: _plain(default) for key, default in registry.keys(stage, where).items()}
    base_check.check_against(search, base, defaults, where)
    if search.rungs and registry.prefix_key(stage) != search.rung:
        raise ConfigError(
            f'{where}: "rungs": stage "{stage}" does not say that "{search.rung}" only ends it earlier; if it does, '
            f'write PREFIX = "{search.rung}" at the top of its module'
        )
    for key, choice in search.choices.items():
        for value in (choice.low, choice.high) if isinstance(choice, Span) else choice:
            registry.check(base | {key: value}, f'{where}: "{search_config.SPACE}{key}"', tuple(base))
    trials.longest_name(search, name)


def check_figure(config: Config, source: RunDocument, where: str) -> None:
    """See that a source that is done has the figure that is to be improved.

    Raises:
        ConfigError: it has not.
    """
    try:
        value = figure_of(source, str(config["metric"]))
    except Unfit as unfit:
        raise ConfigError(f"{where}: {unfit}") from None
    if not math.isfinite(value):
        raise ConfigError(
            f'{where}: "metric": {config["metric"]} of {source["_id"]} is {value}; nothing improves on that'
        )


def _plain(default: object) -> Value:
    """A default as a config could say it; None for one that the source does not show."""
    return default if isinstance(default, bool | int | float | str | list) else None


def differences(stands: Standing) -> list[str]:
    """An audit: the names of the runs whose values would be proposed otherwise today, from the same results."""
    found = engine.differences(stands.search, stands.base, stands.results, stands.known)
    return sorted(name for name, run in stands.ours.items() if run["trial"] in found)


def importance(stands: Standing) -> dict[str, float]:
    """Parameter -> its share in what makes the best trials the best (`scheduler.search.importance`)."""
    space, points = stands.search.space, dict[int, Point | None]()
    for run in ranking(stands):
        if run["state"] == State.DONE:
            trial, values = (0, stands.base) if run is stands.source else (run["trial"], run["config"])
            known = {key: value for key, value in values.items() if key in stands.search.choices}
            points.setdefault(trial, space.point(known))
    return measured(space, [point for point in points.values() if point is not None])


def ranking(stands: Standing) -> list[RunDocument]:
    """The search's runs and its source, the best whole run first, those without a result last."""
    sign = 1 if stands.search.minimize else -1

    def key(run: RunDocument) -> tuple[Any, ...]:
        value = run.get("metrics", {}).get(stands.search.metric)
        is_known = run["state"] == State.DONE and is_finite(value)
        trial, rung = (0, None) if run is stands.source else (run["trial"], run["rung"])
        return not is_known, -(rung or math.inf), sign * float(value) if is_known else 0.0, trial  # type: ignore[arg-type]

    return sorted([stands.source, *stands.ours.values()], key=key)

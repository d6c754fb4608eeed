"""Searches in the queue. There is no driver: whoever submits one, ends one of its runs or heals calls `advance`, which
inserts what the engine asks for. What that is follows from the documents alone, so it does not matter who calls it,
when, or how many at once: the first insert of a name stands, and the others find there what they would have inserted.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from repro.scheduler import runs
from repro.scheduler.queue import lookup
from repro.scheduler.queue.search_standing import Standing, Unfit, is_at_fault, standing
from repro.scheduler.runs import RunDocument, State, Trials
from repro.scheduler.runs.run_document import collection
from repro.scheduler.search import engine, trials
from repro.scheduler.search.engine import Replay
from repro.scheduler.search.search_config import STAGE
from repro.scheduler.search.trials import Job
from repro.scheduler.server.connection import Document, Queue
from repro.stages import config as configs
from repro.stages.source import provenance

ENDED = (State.DONE, State.FAILED, State.CANCELLED)  # states of runs of searches that `trials` counts
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


class Proposed(Exception):
    """Another version of this program has proposed otherwise; the message says which."""


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
    above, proposed_by = lookup.identities(db, stands.source["sources"]), version()
    documents = [_document(stands, job, above) | {"proposed_by": proposed_by} for job in jobs]
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


def _document(stands: Standing, job: Job, above: Mapping[str, RunDocument]) -> RunDocument:
    """The document of a job; `above`: the runs that it reads, by name."""
    config = trials.config_of(job, stands.search, stands.source["config"])
    prints = {name: source["fingerprint"] for name, source in above.items()}
    said = cast("Document", stands.run)
    options = {field: said[field] for field in OF_SUBMIT if field in said}
    options |= {"held": said.get("needs") or False}
    if allowed := stands.source.get("allow_unknown"):
        options["allow_unknown"] = allowed
    place = {"search": stands.name, "trial": job.trial, "rung": job.rung}
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
    ended = dict.fromkeys(ENDED, 0)
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
    states = [state.value for state in ENDED]
    match = {"search": {"$in": list(known)}, "state": {"$in": states}}
    group = {"_id": {"search": "$search", "state": "$state"}, "count": {"$sum": 1}}
    ended: dict[str, dict[str, int]] = {name: {} for name in known}
    for found in db.runs.aggregate([{"$match": match}, {"$group": group}]):
        ended[found["_id"]["search"]][found["_id"]["state"]] = found["count"]
    return [name for name, told in known.items() if told is None or _differs(told, ended[name])]


def _differs(told: Trials, ended: Mapping[str, int]) -> bool:
    return any(told.get(state.value, 0) != ended.get(state.value, 0) for state in ENDED)

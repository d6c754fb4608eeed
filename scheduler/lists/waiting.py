"""Why a run does not run yet, in a few words. Pure: `listing` gathers the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from repro.scheduler.runs import RunDocument, State, demands, told_by
from repro.scheduler.server.connection import Document
from repro.stages.plain import figure


@dataclass(frozen=True)
class Facts:
    """What the reasons follow from.

    Attributes:
        sources: name -> state of the sources that are waited for; those that are gone are missing.
        workers: the documents of the live workers.
        first: GPU count, class of demands -> name of the pending run that is claimed first of those that need this.
    """

    now: datetime
    sources: Mapping[str, str]
    workers: Sequence[Document]
    first: Mapping[tuple[int, str], str]


def reason(run: RunDocument, facts: Facts) -> str:
    """Why a waiting or pending run does not run yet."""
    return obstacle(run, facts) or _in_line(run, facts)


def obstacle(run: RunDocument, facts: Facts) -> str | None:
    """What is in the way of a run; None if it is only that others come first."""
    if run["state"] == State.WAITING:
        missing = [name for name in run["waiting_for"] if name != run["_id"]]
        return ", ".join(f"{name} is {facts.sources.get(name, 'gone')}" for name in missing) or searching(run)
    if run["held"] is True:
        return "held"
    if (not_before := run.get("not_before")) and not_before > facts.now:
        return f"not before {not_before:%H:%M:%S} UTC"
    workers = facts.workers
    return _no_worker(run["gpus"], workers) or _not_met(run, workers) or _no_code(run, workers)


def searching(run: RunDocument) -> str:
    """How far a search is, and what keeps it."""
    trials = run.get("trials", {})
    ended = trials.get("done", 0) + trials.get("failed", 0) + trials.get("cancelled", 0)
    told = [f"{ended} of {trials.get('begun', 0)} runs asked for have ended"]
    if "best" in trials:
        told.append(f"best {trials['best']} with {figure(trials['figure'])}")
    if missing := trials.get("missing"):
        told.append(f"waits for {', '.join(missing[:3])}, not done by no fault of the config: repro retry {missing[0]}")
    if run["held"] is True:
        told.insert(0, f"held: {trials['paused']}" if "paused" in trials else "held")
    return "; ".join(told)


def _not_met(run: RunDocument, workers: Sequence[Document]) -> str | None:
    """Of a run whose demands no live worker with room for it meets."""
    needs = run.get("needs", "")
    if not needs or any(needs in worker.get("meets", ()) for worker in with_room(run["gpus"], workers)):
        return None
    return f"needs {demands.shown(needs)}, and no live worker has that; see repro workers"


def _no_code(run: RunDocument, workers: Sequence[Document]) -> str | None:
    """Of a run that all live workers with room for it pass over, for their code does not know it."""
    able = with_room(run["gpus"], workers)
    lacking = [(w, next((lack for lack in told_by(w) if lack.concerns(run)), None)) for w in able]
    if not able or any(lack is None for _, lack in lacking):
        return None
    worker, lack = lacking[0]
    submitted = (run.get("code") or {}).get("from")
    than = f", the submit's {submitted}" if submitted else ""
    return f"worker {worker['_id']} {lack} (its code is {worker.get('code') or 'not known'}{than})"


def with_room(gpus: int, workers: Sequence[Document]) -> list[Document]:
    """The workers that have so many cards, or a place without one."""
    return [worker for worker in workers if (len(worker["cards"]) >= gpus if gpus else worker["cpus"])]


def _no_worker(gpus: int, workers: Sequence[Document]) -> str | None:
    need = "a place without a GPU" if not gpus else "1 GPU" if gpus == 1 else f"{gpus} GPUs"
    if not workers:
        return f"needs {need} and no worker is alive" if gpus else "no worker is alive"
    able = with_room(gpus, workers)
    if not able:
        return f"needs {need} and no live worker has {'them' if gpus > 1 else 'one'}"
    staying = [worker for worker in able if not worker.get("drain")]
    if not staying:
        return f"needs {need} and the workers that have {'them' if gpus > 1 else 'one'} are leaving"
    if all(len(worker["cards"]) - len(worker.get("avoided", ())) < gpus for worker in staying):
        return f"needs {need} and somebody else computes on those of {', '.join(worker['_id'] for worker in staying)}"
    return None


def _in_line(run: RunDocument, facts: Facts) -> str:
    kind = for_cards(run["gpus"])
    first = facts.first.get((run["gpus"], run.get("needs", "")), run["_id"])
    return f"next in line{kind}" if first == run["_id"] else f"behind {first}{kind}"


def for_cards(gpus: int) -> str:
    return f" for {gpus} GPU{'s' * (gpus > 1)}" if gpus else ""

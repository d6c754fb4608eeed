"""The transitions of searches: a search is a run that waits for itself, until its trials have told the best of them."""

from collections.abc import Mapping
from typing import Any

from repro.scheduler.runs.expressions import NOW, Pipeline, history, literals
from repro.scheduler.runs.inserts import RESULT
from repro.scheduler.runs.run_document import RunDocument, Trials, collection
from repro.scheduler.runs.states import State
from repro.scheduler.server.connection import Document, Queue

# The winner's parameters are its own: a search has read other keys.
OF_WINNER = tuple(field for field in RESULT if field not in ("params", "unread"))


def conclude(db: Queue, name: str, winner: RunDocument, why: str) -> bool:
    """waiting -> done: the search's result is its winner's, where it lies; nothing is computed or copied."""
    result = {key: value for key, value in winner.items() if key in OF_WINNER}
    update: Pipeline = [
        {"$set": {"state": State.DONE.value, "waiting_for": [], "finished_at": NOW} | literals(result)},
        {"$set": literals({"same_as": winner["_id"]}) | {"history": history(to=State.DONE, why=why)}},
        {"$unset": ["error"]},
    ]
    return collection(db).update_one(_waiting(name), update).matched_count == 1


def give_up(db: Queue, name: str, error: Mapping[str, Any]) -> bool:
    """waiting -> failed: no trial can tell which is the best."""
    ended = {"state": State.FAILED.value, "finished_at": NOW, "history": history(to=State.FAILED, why=error["message"])}
    return collection(db).update_one(_waiting(name), [{"$set": ended | literals({"error": error})}]).matched_count == 1


def pause(db: Queue, name: str, why: str) -> bool:
    """waiting, as it is: nothing is asked for any more until `unhold`."""
    update: Pipeline = [
        {"$set": {"held": True, "trials.paused": {"$literal": why}, "history": history(to=State.WAITING, why=why)}}
    ]
    return collection(db).update_one(_waiting(name) | {"held": {"$ne": True}}, update).matched_count == 1


def note_trials(db: Queue, name: str, trials: Trials) -> None:
    """waiting, as it is: how far the search is, by what has ended."""
    collection(db).update_one(_waiting(name) | {"trials": {"$ne": trials}}, {"$set": {"trials": trials}})


def join(db: Queue, run: RunDocument) -> None:
    """In any state, as it is: a run that is just what a trial would be, of the same name and computation, is one."""
    guard = {"_id": run["_id"], "fingerprint": run["fingerprint"], "search": None}
    place = {key: run[key] for key in ("search", "trial", "rung")}
    collection(db).update_one(guard, {"$set": place})


def _waiting(name: str) -> Document:
    return {"_id": name, "state": State.WAITING.value}

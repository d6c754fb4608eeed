"""Every read of run documents that commands and workers make."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.scheduler.queue import workers
from repro.scheduler.queue.waiting import Facts, reason
from repro.scheduler.runs import CLAIM_ORDER, FINAL, LIVE, RESULT, State, claimable
from repro.scheduler.server.connection import Document, Queue, server_time
from repro.stages.errors import ReproError

STATES = [state.value for state in State]
NEWS_MS = 2000  # how long the server holds a question for news that it has no answer to
MANY = 100_000  # runs from which the done ones are not counted one by one
FAILURES = 5  # rows of a listing that are kept for the newest failures
SILENT = 120  # seconds after which a worker does not count as alive


def run(db: Queue, name: str) -> Document:
    """One run's document.

    Raises:
        ReproError: there is none of that name.
    """
    return runs(db, [name])[0]


def runs(db: Queue, names: Sequence[str], fields: Document | None = None) -> list[Document]:
    """The documents of these runs, or some of their fields, in the order asked for.

    Raises:
        ReproError: naming those that do not exist.
    """
    found = {d["_id"]: d for d in db.runs.find({"_id": {"$in": list(names)}}, fields)}
    if missing := [name for name in names if name not in found]:
        raise ReproError(f"no such run: {', '.join(missing)}; repro status lists them")
    return [found[name] for name in names]


def fitting(db: Queue, pattern: str) -> list[str]:
    """The names that a pattern of the shell fits, sorted."""
    return [d["_id"] for d in db.runs.find({"_id": {"$regex": _anchored(pattern)}}, {"_id": 1}).sort("_id")]


def beginning(db: Queue, text: str, limit: int) -> list[str]:
    """Names that begin so, sorted; as many as asked for."""
    found = db.runs.find({"_id": {"$regex": f"^{re.escape(text)}"}}, {"_id": 1}).sort("_id").limit(limit)
    return [d["_id"] for d in found]


def is_pattern(word: str) -> bool:
    """Of the shell; no name has such characters."""
    return any(character in word for character in "*?[")


def _anchored(pattern: str) -> str:
    """As a regular expression; what stands before the first `*` is a prefix that the index can go by."""
    prefix = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    rest = fnmatch.translate(pattern[len(prefix) :]).removeprefix("(?s:").removesuffix(r")\Z")
    return f"^{re.escape(prefix)}{rest}$"


def sources(db: Queue, document: Document) -> dict[str, Document]:
    """Name -> document of those of a run's sources that exist; a rerun reads them where its original did."""
    names = document["sources"]
    found = {d["_id"]: d for d in db.runs.find({"_id": {"$in": names}})} if names else {}
    for name, location in document.get("inputs", {}).items():
        # What lies there is told by the manifest there, not by this document.
        if name in found:
            found[name] = {k: v for k, v in found[name].items() if k != "outputs"} | {"location": location}
    return found


def line(db: Queue, document: Document) -> dict[str, Document]:
    """Name -> document of all that a run comes from."""
    found: dict[str, Document] = {}
    wanted = set(document["sources"])
    while wanted:
        above = {d["_id"]: d for d in db.runs.find({"_id": {"$in": sorted(wanted)}})}
        found |= above
        wanted = {source for d in above.values() for source in d["sources"]} - found.keys()
    return found


def held_with(db: Queue, token: str) -> Document | None:
    """The run that is held with a token: the answer to a claim whose reply was lost."""
    return db.runs.find_one({"state": State.RUNNING.value, "lease.token": token})


def identities(db: Queue, names: Iterable[str]) -> dict[str, Document]:
    """`state`, `config` and `fingerprint` of those of the names that are taken."""
    wanted = {"state": 1, "config": 1, "fingerprint": 1, "location": 1}
    return {d["_id"]: d for d in db.runs.find({"_id": {"$in": list(names)}}, wanted)}


def equal(db: Queue, fingerprints: Iterable[str]) -> dict[str, Document]:
    """Fingerprint -> the done run that computed it, of those that some run has computed."""
    guard = {"fingerprint": {"$in": list(fingerprints)}, "state": State.DONE.value, "same_as": None}
    wanted = {"fingerprint": 1} | dict.fromkeys(RESULT, 1)
    return {d["fingerprint"]: d for d in db.runs.find(guard, wanted).sort("finished_at", -1)}  # the oldest is last


def lettered(db: Queue, base: str) -> dict[str, str]:
    """Name -> fingerprint of `base` and of everything that is `base` with letters behind it."""
    pattern = {"$regex": f"^{re.escape(base)}[a-z]*$"}
    return {d["_id"]: d["fingerprint"] for d in db.runs.find({"_id": pattern}, {"fingerprint": 1})}


def counts(db: Queue) -> dict[str, int]:
    """How many runs there are in each state that has any.

    Each count walks its part of an index. Of a long history what is done is told by what is left of all, which is
    known without counting and may be off by those that are being inserted.
    """
    total = db.runs.estimated_document_count()
    exact = STATES if total < MANY else [state for state in STATES if state != State.DONE]
    found = {state: db.runs.count_documents({"state": state}) for state in exact}
    found.setdefault(State.DONE.value, max(0, total - sum(found.values())))
    return {state: found[state] for state in STATES if found[state]}


@dataclass(frozen=True)
class Only:
    """What a listing is to have; an empty field lets everything through."""

    states: Sequence[str] = ()
    stages: Sequence[str] = ()
    tags: Sequence[str] = ()
    patterns: Sequence[str] = ()

    def guard(self) -> Document:
        found: Document = {"stage": {"$in": list(self.stages)}} if self.stages else {}
        if self.tags:
            found["tags"] = {"$all": list(self.tags)}
        if self.patterns:
            exact = [pattern for pattern in self.patterns if not is_pattern(pattern)]
            found["$or"] = [{"_id": {"$in": exact}}] if exact else []
            found["$or"] += [{"_id": {"$regex": _anchored(p)}} for p in self.patterns if is_pattern(p)]
        return found


def listing(db: Queue, only: Only | None = None, limit: int = 20) -> list[Document]:
    """The newest runs first, without the parts that a table has no room for.

    Running runs come first, then what is to run, then what failed, then the rest. A few of the places are kept for the
    newest failures, which a long queue must not hide.
    """
    only = only or Only()
    hidden = {"outputs": 0, "params": 0, "environment": 0, "history": 0, "config": 0}
    found: dict[str, list[Document]] = {}
    for state in only.states or STATES:
        order = "finished_at" if state in FINAL else "submitted_at"
        guard = {"state": state} | only.guard()
        found[state] = list(db.runs.find(guard, hidden).sort(order, -1).limit(limit))
    room = limit - min(FAILURES, len(found.get(State.FAILED, ())))
    live = [run for state in (State.RUNNING, State.PENDING, State.WAITING) for run in found.get(state, ())][:room]
    ended = [
        run for state in (State.FAILED, State.CANCELLED, State.DONE, State.VERIFIED) for run in found.get(state, ())
    ]
    return (live + ended)[:limit]


def found(db: Queue, guard: Document, fields: Sequence[str]) -> Iterator[Document]:
    """These fields of every run that a filter of a user's lets through, by name."""
    yield from db.runs.find(guard, list(fields)).sort("_id")


def why_waiting(db: Queue, documents: Iterable[Document]) -> dict[str, str]:
    """For each waiting or pending run, in a few words, why it does not run yet."""
    waiting = [d for d in documents if d["state"] in (State.WAITING, State.PENDING)]
    if not waiting:
        return {}
    wanted = list({source for d in waiting for source in d["waiting_for"]})
    states = {d["_id"]: d["state"] for d in db.runs.find({"_id": {"$in": wanted}}, {"state": 1})} if wanted else {}
    needs = {d["gpus"] for d in waiting if d["state"] == State.PENDING}
    first = {gpus: run["_id"] for gpus in needs if (run := first_in_line(db, [gpus]))}
    facts = Facts(server_time(db), states, live_workers(db), first)
    return {d["_id"]: reason(d, facts) for d in waiting}


def live_workers(db: Queue) -> list[Document]:
    """Those that have been heard of lately."""
    return list(db.workers.find({"$expr": {"$gt": ["$seen_at", {"$subtract": ["$$NOW", SILENT * 1000]}]}}))


def sharing(db: Queue, cards: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Card -> the workers that were given it, of those that more than one has that is alive.

    A card's UUID is one in the world, so machines and containers need not be told apart.
    """
    guard: Document = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
    if cards is not None:
        guard["cards"] = {"$in": list(cards)}
    found: dict[str, list[str]] = {}
    for worker in db.workers.find(guard, {"cards": 1, "among": 1}).sort("_id"):
        for card in () if workers.is_gone(worker) else worker["cards"]:
            found.setdefault(card, []).append(worker["_id"])
    return {card: names for card, names in found.items() if len(names) > 1 and (cards is None or card in cards)}


def ready_sources(db: Queue) -> list[str]:
    """Done runs that some waiting run still waits for: their releaser died in between."""
    names = db.runs.distinct("waiting_for", {"state": State.WAITING.value})
    if not names:
        return []
    return [d["_id"] for d in db.runs.find({"_id": {"$in": names}, "state": State.DONE.value}, {"_id": 1})]


def first_in_line(db: Queue, gpus: Sequence[int]) -> Document | None:
    """The run that would be claimed next by a worker with room for any of these GPU counts."""
    return db.runs.find_one(claimable(gpus), {"gpus": 1, "sources": 1}, sort=CLAIM_ORDER)


def pending_news(db: Queue, over: Callable[[], bool]) -> Iterator[None]:
    """Yields at once, and whenever a run has become pending, until it is `over`, which it asks every few seconds.

    A hint only: news may be lost, so polling goes on. A standalone server has no change streams and raises.
    """
    is_pending = {"fullDocument.state": State.PENDING.value}
    became_pending = {"updateDescription.updatedFields.state": State.PENDING.value}
    wanted: list[Mapping[str, Any]] = [
        {"$match": {"$or": [{"operationType": "insert", **is_pending}, became_pending]}},
        {"$project": {"_id": 1}},
    ]
    with db.runs.watch(wanted, max_await_time_ms=NEWS_MS) as news:
        yield  # for what became pending before the stream was there
        while not over():
            if news.try_next() is not None:
                yield


def claimable_later(db: Queue, gpus: Sequence[int]) -> bool:
    """Whether a run that fits these GPU counts is pending, if only after its `not_before`."""
    guard = {"state": State.PENDING.value, "held": False, "gpus": {"$in": list(gpus)}}
    return db.runs.find_one(guard, {"_id": 1}) is not None


def unfinished(db: Queue, names: Sequence[str]) -> dict[str, Any]:
    """Name -> state of those of the runs that are not in a final state."""
    final = [state.value for state in FINAL]
    return {
        d["_id"]: d["state"]
        for d in db.runs.find({"_id": {"$in": list(names)}, "state": {"$nin": final}}, {"state": 1})
    }


def blocked(db: Queue, names: Sequence[str]) -> dict[str, str]:
    """Name -> `"blocked"` of those waiting runs that can't start: a source up the line failed or was cancelled."""
    found: dict[str, str] = {}
    for document in db.runs.find({"_id": {"$in": list(names)}, "state": State.WAITING.value}, {"waiting_for": 1}):
        if any(_dead(db, source) for source in document["waiting_for"]):
            found[document["_id"]] = "blocked"
    return found


def _dead(db: Queue, name: str) -> bool:
    document = db.runs.find_one({"_id": name}, {"state": 1, "waiting_for": 1})
    if document is None or document["state"] in (State.FAILED, State.CANCELLED):
        return True
    return document["state"] == State.WAITING and any(_dead(db, source) for source in document["waiting_for"])


def chain(db: Queue, names: Sequence[str]) -> list[str]:
    """The runs not ended that lead to these or come from them, through ended ones too; the last children first.

    There is no index from a run to its children, for its writes would cost every submit: they are found from the
    live runs' side, up the line.
    """
    sources = _lines_up(db, names)
    children: dict[str, list[str]] = {}
    for name, above in sources.items():
        for source in above:
            children.setdefault(source, []).append(name)
    line = [*reversed(_reached(names, children)), *_reached(names, sources)]
    live = unfinished(db, line)
    return [name for name in dict.fromkeys(line) if name in live]


def _lines_up(db: Queue, names: Sequence[str]) -> dict[str, list[str]]:
    """Name -> sources of these runs, of every live run and of all that they come from."""
    known: dict[str, list[str]] = {}
    guard: Document = {"$or": [{"state": {"$in": [s.value for s in LIVE]}}, {"_id": {"$in": list(names)}}]}
    while found := {d["_id"]: d["sources"] for d in db.runs.find(guard, {"sources": 1})}:
        known |= found
        guard = {"_id": {"$in": list({s for above in found.values() for s in above} - known.keys())}}
    return known


def _reached(names: Iterable[str], edges: Mapping[str, Sequence[str]]) -> list[str]:
    """These and all that can be reached from them, each once, the nearest first."""
    reached = dict.fromkeys(names)
    waiting = list(reached)
    for name in waiting:
        fresh = [other for other in edges.get(name, ()) if other not in reached]
        reached |= dict.fromkeys(fresh)
        waiting += fresh
    return list(reached)

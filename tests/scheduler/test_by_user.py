"""What users do to runs, against a real mongod: who wins a race, what a retry waits for, what a chain is."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import changes, filters
from repro.scheduler.lists.listing import Only
from repro.scheduler.queue import lineage

ROUNDS = 30


@pytest.fixture
def db(database):
    runs.create_indexes(database)
    return database


def add(db, name="model", sources=(), waiting_for=None, **options):
    waits = sources if waiting_for is None else waiting_for
    runs.submit(db, [runs.document(name, {"stage": "train"}, f"print-{name}", list(sources), list(waits), **options)])


def get(db, name="model"):
    return db.runs.find_one({"_id": name})


def claim(db):
    return runs.claim(db, "w1", (0,), 30)


def finish(db, *names):
    """Claim and complete these runs, with what their worker does for their children."""
    for name in names:
        run = claim(db)
        assert run["_id"] == name
        assert runs.complete(db, name, run["lease"]["token"], f"file:///s/{name}", {})
        runs.release_children(db, [name])


def race(*calls):
    """Call all at the same moment; their results."""
    barrier = threading.Barrier(len(calls))

    def start(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(start, calls))


def test_cancel_against_claim_ends_cancelled_and_the_claimer_can_write_nothing(db):
    for number in range(ROUNDS):
        add(db, name := f"run{number}")
        cancelled, claimed = race(lambda name=name: runs.cancel(db, name), lambda: claim(db))
        assert cancelled["state"] == "cancelled"
        assert claim(db) is None
        if claimed:
            before, token = get(db, name), claimed["lease"]["token"]
            assert not runs.renew(db, name, token, 30)
            assert not runs.complete(db, name, token, "file:///late", {})
            assert not runs.fail(db, name, token, {"type": "E", "message": "late"}, 0)
            assert not runs.hand_back(db, name, token)
            assert get(db, name) == before


def test_hold_against_claim_exactly_one_wins(db):
    for number in range(ROUNDS):
        add(db, name := f"run{number}")
        held, claimed = race(lambda name=name: runs.hold(db, name), lambda: claim(db))
        assert bool(held) != bool(claimed)
        assert get(db, name)["state"] == ("pending" if held else "running")


def test_cancel_against_complete_exactly_one_wins(db):
    for number in range(ROUNDS):
        add(db, name := f"run{number}")
        token = claim(db)["lease"]["token"]
        cancelled, done = race(
            lambda name=name: runs.cancel(db, name),
            lambda name=name, token=token: runs.complete(db, name, token, f"file:///s/{name}", {}),
        )
        assert bool(cancelled) != done
        assert get(db, name)["state"] == ("done" if done else "cancelled")


def test_ten_users_retry_one_does_it(db):
    add(db)
    runs.cancel(db, "model", "me")
    won = [found for found in race(*[lambda: runs.retry(db, "model", "me")] * 10) if found]
    assert [found["state"] for found in won] == ["pending"]
    assert [(entry["to"], entry.get("by")) for entry in get(db)["history"]][1:] == [
        ("cancelled", "me"),
        ("pending", "me"),
    ]


@pytest.mark.parametrize(("ended", "state", "left"), [([], "waiting", ["a", "b"]), (["a"], "waiting", ["b"])])
def test_a_retried_run_waits_for_the_sources_that_are_not_done_yet(db, ended, state, left):
    add(db, "a")
    add(db, "b")
    add(db, "model", ["a", "b"])
    runs.cancel(db, "model")
    finish(db, *ended)
    assert runs.retry(db, "model")["state"] == state
    assert sorted(get(db)["waiting_for"]) == left
    finish(db, *[name for name in ("a", "b") if name not in ended])
    assert get(db)["state"] == "pending"


def test_a_run_retried_after_its_source_ended_is_pending_at_once(db):
    add(db, "a")
    add(db, "model", ["a"])
    runs.cancel(db, "model")
    finish(db, "a")
    assert runs.retry(db, "model")["state"] == "pending"
    assert [entry["to"] for entry in get(db)["history"]] == ["waiting", "cancelled", "pending"]


def test_a_run_waits_again_for_a_source_that_is_no_longer_done(db):
    add(db, "a")
    add(db, "model", ["a"], waiting_for=[])
    runs.cancel(db, "a")
    runs.cancel(db, "model")
    assert runs.retry(db, "model")["state"] == "waiting"


def test_a_retry_while_its_source_ends_is_released(db):
    for number in range(ROUNDS):
        source, name = f"a{number}", f"model{number}"
        add(db, source)
        add(db, name, [source])
        runs.cancel(db, name)
        race(lambda name=name: runs.retry(db, name), lambda source=source: finish(db, source))
        assert get(db, name)["state"] == "pending"
        assert runs.cancel(db, name)


def test_hold_and_priority_stand_in_the_history_once(db):
    add(db)
    for _ in range(2):
        assert runs.hold(db, "model", "me")["held"]
        assert runs.set_priority(db, "model", 7, "me")["priority"] == 7
    assert not runs.unhold(db, "model")["held"]
    assert [entry.get("why") for entry in get(db)["history"]] == [None, "held", "priority 7", "unheld"]
    assert {entry["to"] for entry in get(db)["history"]} == {"pending"}
    assert get(db)["history"][1]["by"] == "me"


def test_priority_changes_who_is_claimed_first(db):
    add(db, "first")
    add(db, "second")
    runs.set_priority(db, "second", 1)
    assert claim(db)["_id"] == "second"
    assert runs.set_priority(db, "second", 2) is None


def test_a_users_name_is_never_evaluated(db):
    add(db)
    for verb in (runs.hold, runs.unhold, runs.cancel, runs.retry):
        verb(db, "model", "$_id")
    assert {entry.get("by") for entry in get(db)["history"][1:]} == {"$_id"}


def test_a_chain_goes_through_ended_runs_and_leaves_the_neighbours(db):
    add(db, "done")
    finish(db, "done")
    for name, sources in {
        "data": ["done"], "stream": ["data"], "model": ["stream"], "broken": ["model"], "report": ["broken"],
        "sibling": ["stream"], "other": [], "table": ["model", "other"],
    }.items():  # fmt: skip
        add(db, name, sources)
    runs.cancel(db, "broken")
    assert lineage.chain(db, ["model"]) == ["report", "table", "model", "stream", "data"]
    assert set(lineage.chain(db, ["done"])) == {"data", "stream", "model", "report", "sibling", "table"}
    assert lineage.chain(db, ["other"]) == ["table", "other"]


def test_the_history_notes_where_an_attempt_was_to_go_on_from_and_how_far_it_came(db):
    add(db)
    token = claim(db)["lease"]["token"]
    runs.renew(db, "model", token, 30, {"progress": {"step": 7, "total": 9}, "cards": ["GPU-a"]})
    runs.hand_back(db, "model", token, {"step": 5, "location": "file:///s/model-1/5"})
    token = claim(db)["lease"]["token"]
    runs.renew(db, "model", token, 30, {"progress": {"step": 9, "total": 9}})
    runs.complete(db, "model", token, "file:///s/model", {})
    noted = [{k: e[k] for k in ("to", "from_step", "step", "cards") if k in e} for e in get(db)["history"]]
    assert noted == [
        {"to": "pending"},
        {"to": "running"},
        {"to": "pending", "step": 7, "cards": ["GPU-a"]},
        {"to": "running", "from_step": 5},
        {"to": "done", "step": 9},
    ]


class Bulk:
    def __init__(self, db):
        for name, lr in (("a", 1), ("b", 2), ("c", 3)):
            runs.submit(db, [runs.document(name, {"stage": "train", "lr": lr}, name, [], [])])
        self.db = db

    def do(self, verb, *where):
        return changes.change_all(self.db, verb, Only(where=[filters.parse(text) for text in where]), by="me")

    def those(self, **guard):
        return [run["_id"] for run in self.db.runs.find(guard).sort("_id")]


def test_all_that_a_filter_lets_through_are_changed_and_no_other(db):
    bulk = Bulk(db)
    assert bulk.do(changes.HOLD, "lr>1") == 2
    assert bulk.those(held=True) == ["b", "c"]
    assert bulk.do(changes.priority(7), "lr<=2") == 2
    assert bulk.those(priority=7) == ["a", "b"]
    assert bulk.do(changes.CANCEL, "lr=3") == 1
    assert bulk.do(changes.CANCEL, "lr=3") == 0  # its state lets it through no more
    assert bulk.do(changes.UNHOLD) == 2
    assert bulk.those(held=True) == ["c"]
    assert bulk.do(changes.RETRY) == 1
    assert bulk.those(state="pending") == ["a", "b", "c"]
    assert [entry.get("by") for entry in get(db, "c")["history"]] == [None, "me", "me", "me"]


def test_a_bulk_change_leaves_alone_what_has_left_the_filter(db):
    bulk = Bulk(db)
    only = Only(states=["pending"])
    claimed = claim(db)["_id"]
    assert changes.change_all(db, changes.CANCEL, only, by="me") == 2
    assert get(db, claimed)["state"] == "running"
    assert bulk.those(state="cancelled") == ["b", "c"]

"""Every transition of the run store against a real mongod: what it changes, what it refuses, who wins a race."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import WriteConcern
from pymongo.errors import WriteConcernError

from repro.scheduler import runs
from repro.scheduler.queue import claims, lineage
from repro.scheduler.runs import ClaimSpread, State, expressions
from repro.scheduler.server.connection import server_time


def add(db, name="model", waiting_for=(), **options):
    config = {"stage": "train", "gpus": options.pop("gpus", 0)}
    runs.submit(db, [runs.document(name, config, f"print-{name}", list(waiting_for), list(waiting_for), **options)])
    return name


def get(db, name="model"):
    return db.runs.find_one({"_id": name})


def claim(db, worker="w1", gpus=(0,), lease=30):
    return runs.claim(db, worker, gpus, lease)


@pytest.fixture
def db(database):
    runs.create_indexes(database)
    return database


def running(db, **options):
    add(db, **options)
    found = claim(db)
    return found["_id"], found["lease"]["token"]


def test_submit_inserts_pending_and_waiting_runs_with_the_servers_time(db):
    add(db, "data")
    add(db, "model", waiting_for=["data"])
    assert (get(db, "data")["state"], get(db)["state"]) == ("pending", "waiting")
    assert abs((server_time(db) - get(db)["submitted_at"]).total_seconds()) < 10
    assert [entry["to"] for entry in get(db)["history"]] == ["waiting"]


def test_submit_names_what_was_taken_and_changes_nothing_of_it(db):
    add(db, "data")
    before = get(db, "data")
    made = [runs.document(n, {"stage": "augment"}, "other", [], []) for n in ("first", "data", "fresh")]
    assert runs.submit(db, made) == ["data", "fresh"]  # what stands behind may be made for another source
    assert get(db, "data") == before
    assert get(db, "first")["state"] == "pending"
    assert db.runs.find_one({"_id": "fresh"}) is None


def test_ten_simultaneous_submitters_of_one_name_insert_one(db):
    barrier = threading.Barrier(10)

    def submit(number):
        barrier.wait()
        return runs.submit(db, [runs.document("model", {"stage": "train"}, f"print {number}", [], [])])

    with ThreadPoolExecutor(10) as threads:
        taken = list(threads.map(submit, range(10)))
    assert sorted(taken) == [[]] + [["model"]] * 9
    assert get(db)["fingerprint"] == f"print {taken.index([])}"


def test_forty_claimers_of_one_run_one_wins(db):
    add(db)
    barrier = threading.Barrier(40)

    def compete(number):
        barrier.wait()
        return claim(db, f"w{number}")

    with ThreadPoolExecutor(40) as threads:
        won = [found for found in threads.map(compete, range(40)) if found]
    assert len(won) == 1
    assert get(db)["lease"]["token"] == won[0]["lease"]["token"]
    assert get(db)["attempts"] == 1


def test_claims_go_by_priority_then_age_then_order_of_submission(db):
    runs.submit(db, [runs.document(n, {"stage": "train"}, n, [], []) for n in ("b", "a", "c")])
    add(db, "urgent", priority=5)
    assert [claim(db)["_id"] for _ in range(4)] == ["urgent", "b", "a", "c"]


def test_a_claim_spread_takes_any_of_about_the_first_of_a_priority(db):
    runs.submit(db, [runs.document(f"r{i:02}", {"stage": "train"}, str(i), [], []) for i in range(60)])
    claimed = [runs.claim(db, "w", (0,), 30, spread=ClaimSpread(0, among=4))["_id"] for _ in range(60)]
    assert sorted(claimed) == [f"r{i:02}" for i in range(60)]
    assert claimed != sorted(claimed)  # by chance once in 4 ** 59


@pytest.mark.parametrize("last", [9, 5, 0])
def test_a_claim_spread_respects_priority_whatever_was_claimed_last(db, last):
    for priority in (0, 5, 9):
        for i in range(3):
            add(db, f"p{priority}-{i}", priority=priority)
    taken = [runs.claim(db, "w", (0,), 30, spread=ClaimSpread(last, among=50))["priority"] for _ in range(9)]
    assert taken == [9] * 3 + [5] * 3 + [0] * 3
    assert runs.claim(db, "w", (0,), 30, spread=ClaimSpread(last, among=50)) is None


@pytest.mark.parametrize("unfit", [{"held": True}, {"gpus": 2}, {"not_before": datetime(2999, 1, 1, tzinfo=UTC)}])
def test_a_claim_spread_passes_over_what_may_not_start(db, unfit):
    add(db, "first", **unfit)
    assert runs.claim(db, "w", (0,), 30, spread=ClaimSpread(0, among=1)) is None


def test_forty_claimers_with_a_spread_of_eighty_runs_claim_each_once(db):
    runs.submit(db, [runs.document(f"r{i}", {"stage": "train"}, str(i), [], []) for i in range(80)])
    barrier = threading.Barrier(40)

    def compete(number):
        barrier.wait()
        return [runs.claim(db, f"w{number}", (0,), 30, spread=ClaimSpread(0, among=16)) for _ in range(2)]

    with ThreadPoolExecutor(40) as threads:
        won = [found for pair in threads.map(compete, range(40)) for found in pair]
    assert len({found["_id"] for found in won}) == len({found["lease"]["token"] for found in won}) == 80
    assert {found["attempts"] for found in won} == {1}


def test_a_claim_that_the_majority_may_not_have_is_no_claim_to_work_on(db):
    add(db)
    of_three = db.client.get_database(db.name, write_concern=WriteConcern(w=3))
    token = runs.new_token()
    with pytest.raises(WriteConcernError):
        runs.claim(of_three, "w1", (0,), 30, token)
    deadline = time.monotonic() + 300
    while claims.held_with(db, token) is None:  # it was applied, and is to be seen once the majority has it
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "unfit", [{"held": True}, {"gpus": 2}, {"not_before": datetime(2999, 1, 1, tzinfo=UTC)}, {"waiting_for": ["x"]}]
)
def test_claim_passes_over_what_may_not_start(db, unfit):
    add(db, "first", **unfit)
    add(db, "second")
    assert claim(db)["_id"] == "second"
    assert claim(db) is None


def test_claim_reads_one_index_entry_however_much_does_not_fit(db):
    runs.submit(db, [runs.document(f"big{i}", {"stage": "train", "gpus": 8}, str(i), [], []) for i in range(300)])
    runs.submit(db, [runs.document(f"held{i}", {"stage": "train"}, str(i), [], [], held=True) for i in range(300)])
    add(db, "fits")
    guard = {"state": "pending", "held": False, "gpus": {"$in": [0, 1]}}
    plan = db.command(
        "explain",
        {"find": "runs", "filter": guard, "sort": {"priority": -1, "submitted_at": 1}, "limit": 1},
        verbosity="executionStats",
    )
    stats = plan["executionStats"]
    assert stats["nReturned"] == 1
    assert stats["totalKeysExamined"] <= 5
    assert stats["totalDocsExamined"] == 1


def test_renew_prolongs_and_carries_progress_only_with_its_own_token(db):
    name, token = running(db)
    before = get(db)["lease"]["expires_at"]
    assert runs.renew(db, name, token, 300, {"progress": {"step": 3}, "log_tail": ["line"]})
    assert (get(db)["lease"]["expires_at"] - before).total_seconds() > 200
    assert (get(db)["progress"], get(db)["log_tail"]) == ({"step": 3}, ["line"])
    changed = get(db)
    assert not runs.renew(db, name, "another token", 300)
    assert get(db) == changed


def test_complete_keeps_the_result_and_ends_the_lease(db):
    name, token = running(db)
    assert runs.complete(db, name, token, "file:///s/model-1", {"metrics": {"accuracy": 1.0}, "outputs": []})
    done = get(db)
    assert (done["state"], done["location"], done["metrics"]) == ("done", "file:///s/model-1", {"accuracy": 1.0})
    assert "lease" not in done
    assert [entry["to"] for entry in done["history"]] == ["pending", "running", "done"]


def test_complete_after_a_lost_reply_is_accepted_once_more_but_no_other_location_is(db):
    name, token = running(db)
    runs.complete(db, name, token, "file:///s/model-1", {})
    assert runs.complete(db, name, token, "file:///s/model-1", {})
    assert not runs.complete(db, name, token, "file:///s/model-2", {})


@pytest.mark.parametrize("write", ["renew", "complete", "fail", "hand_back"])
def test_a_worker_whose_lease_was_taken_changes_nothing(db, write):
    name, old = running(db)
    db.runs.update_one({"_id": name}, {"$set": {"lease.expires_at": datetime(2000, 1, 1, tzinfo=UTC)}})
    assert runs.expire(db) == 1
    assert claim(db, "w2")["lease"]["token"] != old
    before = get(db)
    late = {
        "renew": lambda: runs.renew(db, name, old, 30),
        "complete": lambda: runs.complete(db, name, old, "file:///s/old", {}),
        "fail": lambda: runs.fail(db, name, old, {"type": "E", "message": "late"}),
        "hand_back": lambda: runs.hand_back(db, name, old),
    }
    assert not late[write]()
    assert get(db) == before


def test_fail_by_the_run_itself_is_final(db):
    name, token = running(db)
    assert runs.fail(db, name, token, {"type": "ValueError", "message": "boom"})
    failed = get(db)
    assert (failed["state"], failed["error"]["message"]) == ("failed", "boom")
    assert failed["finished_at"]
    assert claim(db) is None


def test_fail_by_the_machine_comes_back_later_until_attempts_are_spent(db):
    name, token = running(db, max_attempts=2)
    assert runs.fail(db, name, token, {"type": "Killed", "message": "gone"}, again=True)
    waiting = get(db)
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert 0 < (waiting["not_before"] - server_time(db)).total_seconds() <= 1.5 * expressions.BACKOFF
    assert claim(db) is None
    db.runs.update_one({"_id": name}, {"$set": {"not_before": None}})
    token = claim(db)["lease"]["token"]
    assert runs.fail(db, name, token, {"type": "Killed", "message": "gone again"}, again=True)
    assert get(db)["state"] == "failed"
    assert get(db)["error"] == {"type": "Killed", "message": "tried 2 times; last: gone again", "machine": True}


def test_how_often_it_was_tried_is_told_only_when_machines_were_at_fault(db):
    name, token = running(db, max_attempts=2)
    runs.fail(db, name, token, {"type": "Killed", "message": "gone"}, again=True)
    db.runs.update_one({"_id": name}, {"$set": {"not_before": None}})
    assert get(db)["error"]["message"] == "gone"
    runs.fail(db, name, claim(db)["lease"]["token"], {"type": "ValueError", "message": "boom"})
    assert (get(db)["state"], get(db)["error"]["message"]) == ("failed", "boom")


def test_hand_back_does_not_count_the_attempt(db):
    name, token = running(db)
    assert runs.hand_back(db, name, token)
    assert (get(db)["state"], get(db)["attempts"]) == ("pending", 0)


def test_expire_takes_only_leases_that_ran_out(db):
    name, _ = running(db)
    assert runs.expire(db) == 0
    db.runs.update_one({"_id": name}, {"$set": {"lease.expires_at": datetime(2000, 1, 1, tzinfo=UTC)}})
    assert runs.expire(db) == 1
    assert get(db)["state"] == "pending"
    assert "lease" not in get(db)


def test_expire_fails_a_run_whose_attempts_are_spent(db):
    add(db, max_attempts=3)
    for _ in range(3):
        db.runs.update_one({"_id": "model"}, {"$set": {"not_before": None}})
        claim(db)
        db.runs.update_one({"_id": "model"}, {"$set": {"lease.expires_at": datetime(2000, 1, 1, tzinfo=UTC)}})
        assert runs.expire(db) == 1
    assert get(db)["state"] == "failed"
    assert get(db)["error"]["message"] == "tried 3 times; last: the worker stopped renewing its lease"


def test_a_run_that_loses_worker_after_worker_comes_back_ever_later(db):
    add(db, max_attempts=4)
    delays = []
    for _ in range(3):
        db.runs.update_one({"_id": "model"}, {"$set": {"not_before": None}})
        claim(db)
        db.runs.update_one({"_id": "model"}, {"$set": {"lease.expires_at": datetime(2000, 1, 1, tzinfo=UTC)}})
        now = server_time(db)
        assert runs.expire(db) == 1
        delays.append((get(db)["not_before"] - now).total_seconds())
    assert delays[0] < 1
    assert 0.5 * expressions.BACKOFF <= delays[1] <= 1.5 * expressions.BACKOFF + 1
    assert expressions.BACKOFF <= delays[2] <= 3 * expressions.BACKOFF + 1


def test_a_lease_ends_in_time_although_the_servers_clock_went_back(db):
    name, _ = running(db)
    in_time = get(db)["lease"]["expires_at"]
    assert runs.shorten_waits(db, 30) == 0
    assert get(db)["lease"]["expires_at"] == in_time
    db.runs.update_one({"_id": name}, {"$set": {"lease.expires_at": in_time + timedelta(seconds=90)}})
    assert runs.shorten_waits(db, 30) == 1
    assert 25 < (get(db)["lease"]["expires_at"] - server_time(db)).total_seconds() <= 30


def test_a_backoff_ends_in_time_although_the_servers_clock_went_back(db):
    name, token = running(db)
    runs.fail(db, name, token, {"type": "Killed", "message": "gone"}, again=True)
    in_time = get(db)["not_before"]
    assert runs.shorten_waits(db, 30) == 0
    db.runs.update_one({"_id": name}, {"$set": {"not_before": in_time + timedelta(seconds=90)}})
    assert runs.shorten_waits(db, 30) == 1
    assert (get(db)["not_before"] - server_time(db)).total_seconds() <= 1.5 * expressions.BACKOFF


def test_a_dead_workers_run_is_claimable_at_once_although_the_servers_clock_went_back(db):
    name, _ = running(db)
    db.runs.update_one({"_id": name}, {"$set": {"lease.expires_at": datetime(2000, 1, 1, tzinfo=UTC)}})
    runs.expire(db)
    db.runs.update_one({"_id": name}, {"$set": {"not_before": server_time(db) + timedelta(seconds=90)}})
    assert claim(db) is None
    runs.shorten_waits(db, 30)
    assert claim(db)["_id"] == name


def test_a_not_before_of_the_submitter_is_not_shortened(db):
    add(db, not_before=datetime(2999, 1, 1, tzinfo=UTC))
    assert runs.shorten_waits(db, 30) == 0


def test_a_run_that_was_tried_very_often_comes_back_within_hours(db):
    name, token = running(db, max_attempts=1000)
    db.runs.update_one({"_id": name}, {"$set": {"attempts": 900}})
    assert runs.fail(db, name, token, {"type": "Killed", "message": "gone"}, again=True)
    assert (get(db)["not_before"] - server_time(db)).total_seconds() < 2 * 3600


def test_a_longer_lease_of_another_worker_is_left_alone(db):
    add(db)
    claim(db, lease=3600)
    assert runs.shorten_waits(db, 30) == 0


def test_whoever_looks_for_dead_workers_reads_no_living_ones_runs(db):
    """With thousands of runs under way, twenty looks a second would else read them all."""
    for number in range(50):
        add(db, f"model{number}")
        claim(db, lease=30)
    db.command("profile", 2)
    assert runs.expire(db) == runs.shorten_waits(db, 30) == 0
    db.command("profile", 0)
    looks = list(db["system.profile"].find({"ns": f"{db.name}.runs", "op": "update"}))
    assert [look["docsExamined"] for look in looks] == [0, 0, 0]


def test_release_children_waits_for_the_last_source(db):
    add(db, "child", waiting_for=["a", "b"])
    runs.release_children(db, ["a"])
    assert (get(db, "child")["state"], get(db, "child")["waiting_for"]) == ("waiting", ["b"])
    runs.release_children(db, ["b"])
    assert (get(db, "child")["state"], get(db, "child")["waiting_for"]) == ("pending", [])
    assert [entry["to"] for entry in get(db, "child")["history"]] == ["waiting", "pending"]


def test_a_release_that_a_crash_swallowed_is_found(db):
    name, token = running(db, name="data")
    add(db, "child", waiting_for=["data"])
    assert lineage.ready_sources(db) == []
    runs.complete(db, name, token, "file:///s/data-1", {})
    assert lineage.ready_sources(db) == ["data"]


@pytest.mark.parametrize("state", ["waiting", "pending", "running"])
def test_cancel_ends_what_has_not_ended_and_takes_the_lease(db, state):
    if state == "running":
        _, token = running(db)
    else:
        add(db, waiting_for=["x"] if state == "waiting" else [])
    assert runs.cancel(db, "model")
    assert get(db)["state"] == "cancelled"
    assert not runs.cancel(db, "model")
    if state == "running":
        assert not runs.renew(db, "model", token, 30)


def test_retry_starts_attempts_anew_and_keeps_history(db):
    name, token = running(db)
    assert not runs.retry(db, name)
    runs.fail(db, name, token, {"type": "E", "message": "m"})
    assert runs.retry(db, name)
    found = get(db)
    assert (found["state"], found["attempts"]) == ("pending", 0)
    assert "error" not in found
    assert [entry["to"] for entry in found["history"]] == ["pending", "running", "failed", "pending"]


def test_hold_keeps_a_run_from_claims_until_unhold(db):
    add(db)
    assert runs.hold(db, "model")
    assert claim(db) is None
    assert runs.unhold(db, "model")
    assert claim(db)["_id"] == "model"
    assert not runs.hold(db, "model")


@pytest.mark.parametrize("text", ["$_id", "$$NOW", "$$ROOT", "$lease.token"])
def test_a_callers_strings_are_never_evaluated(db, text):
    add(db)
    token = runs.claim(db, text, (0,), 30)["lease"]["token"]
    assert get(db)["lease"]["worker"] == text
    runs.renew(db, "model", token, 30, {"progress": {"note": text}})
    assert get(db)["progress"] == {"note": text}
    runs.complete(db, "model", token, text, {"metrics": {"m": text}, "params": {"k": {"value": text}}})
    done = get(db)
    assert (done["location"], done["metrics"], done["params"]) == (text, {"m": text}, {"k": {"value": text}})


def test_an_error_text_is_never_evaluated(db):
    name, token = running(db)
    runs.fail(db, name, token, {"type": "$_id", "message": "$$ROOT", "log_tail": ["$state"]})
    assert get(db)["error"] == {"type": "$_id", "message": "$$ROOT", "log_tail": ["$state"]}


def test_history_does_not_grow_without_bound(db):
    add(db, max_attempts=1000)
    for _ in range(expressions.HISTORY):
        runs.hand_back(db, "model", claim(db)["lease"]["token"])
    assert len(get(db)["history"]) == expressions.HISTORY


def test_writes_are_acknowledged_by_the_majority(db):
    assert db.write_concern.document.get("w") == "majority"
    assert db.runs.write_concern.document.get("w") == "majority"


def test_state_values_are_the_documented_ones():
    assert [s.value for s in State] == ["waiting", "pending", "running", "done", "failed", "cancelled", "verified"]

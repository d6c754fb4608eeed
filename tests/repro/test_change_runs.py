"""cancel, retry, hold, unhold and priority as a user types them."""

import json
import sys

import pytest

from repro.scheduler import runs
from repro.scheduler.queue.submission import submitter


@pytest.fixture
def repro(cli, database):
    """The command, over a -> b -> c of which nothing is done."""
    chain = {"a": [], "b": ["a"], "c": ["b"]}
    runs.submit(database, [runs.document(n, {"stage": "train"}, n, above, above) for n, above in chain.items()])
    return lambda *words: cli(sys.executable, "-m", "repro", *words)


def states(db):
    return {d["_id"]: d["state"] for d in db.runs.find()}


def printed(done, code, out, *errors):
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    assert done.stderr.splitlines() == [f"error: {error}" for error in errors]


def test_cancel_and_retry_keep_the_history_and_who_it_was(repro, database):
    printed(repro("cancel", "a"), 0, "a: cancelled\n")
    printed(repro("retry", "a"), 0, "a: pending\n")
    history = database.runs.find_one({"_id": "a"})["history"]
    assert [entry["to"] for entry in history] == ["pending", "cancelled", "pending"]
    assert [entry["by"] for entry in history[1:]] == [submitter()] * 2


def test_a_failed_run_is_retried_with_all_its_attempts(repro, database):
    token = runs.claim(database, "w", (0,), 30)["lease"]["token"]
    runs.fail(database, "a", token, {"type": "E", "message": "m"})
    printed(repro("retry", "a"), 0, "a: pending\n")
    run = database.runs.find_one({"_id": "a"})
    assert (run["attempts"], "error" in run) == (0, False)
    assert [entry["to"] for entry in run["history"]] == ["pending", "running", "failed", "pending"]


def test_what_does_not_fit_is_told_and_the_others_are_changed(repro, database):
    repro("cancel", "b")
    only = "only waiting, pending or running runs can be cancelled"
    printed(repro("cancel", "a", "b", "c", "a"), 2, "a: cancelled\nc: cancelled\n", f"b: is cancelled; {only}")
    printed(repro("hold", "a"), 2, "", "a: is cancelled; only waiting or pending runs can be held")
    printed(repro("unhold", "a"), 2, "", "a: is cancelled; only waiting or pending runs can be unheld")
    printed(repro("priority", "1", "a"), 2, "", "a: is cancelled; only waiting or pending runs can be given a priority")
    done = repro("retry", "c", "b", "c", "--json")
    printed(done, 0, done.stdout)
    assert json.loads(done.stdout) == [{"name": "c", "state": "waiting"}, {"name": "b", "state": "waiting"}]
    printed(repro("retry", "c"), 2, "", "c: is waiting; only failed or cancelled runs can be retried")


@pytest.mark.parametrize("words", [("cancel",), ("retry",), ("hold",), ("unhold",), ("priority", "1")])
def test_a_name_that_does_not_exist_is_refused_before_anything_is_changed(repro, database, words):
    before = list(database.runs.find())
    printed(repro(*words, "a", "nowhere"), 2, "", "no such run: nowhere; repro status lists them")
    assert list(database.runs.find()) == before


def test_a_chain_is_cancelled_from_its_middle(repro, database):
    printed(repro("cancel", "b", "--source-and-children"), 0, "c: cancelled\nb: cancelled\na: cancelled\n")
    assert set(states(database).values()) == {"cancelled"}


def test_a_chain_around_a_run_that_has_ended(repro, database):
    repro("cancel", "b")
    done = repro("cancel", "b", "--source-and-children", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == [{"name": "c", "state": "cancelled"}, {"name": "a", "state": "cancelled"}]
    assert "b: is cancelled" in done.stderr


def test_hold_unhold_and_priority(repro, database):
    printed(repro("hold", "a", "b"), 0, "a: pending, held\nb: waiting, held\n")
    assert runs.claim(database, "w", (0,), 30) is None
    printed(repro("priority", "-5", "a"), 0, "a: pending, held, priority -5\n")
    printed(repro("unhold", "a"), 0, "a: pending, priority -5\n")
    assert runs.claim(database, "w", (0,), 30)["_id"] == "a"
    printed(repro("hold", "a"), 2, "", "a: is running; only waiting or pending runs can be held")
    assert repro("priority", "high", "b").returncode == 2
    assert repro("priority", str(2**64), "b").returncode == 2


def test_the_loser_of_a_race_between_cancel_and_the_end_is_told(repro, database):
    from threading import Thread

    token = runs.claim(database, "w", (0,), 30)["lease"]["token"]
    told = []
    user = Thread(target=lambda: told.append(repro("cancel", "a")))
    user.start()
    won = runs.complete(database, "a", token, "file:///s/a", {})
    user.join()
    if won:
        printed(told[0], 2, "", "a: is done; only waiting, pending or running runs can be cancelled")
    else:
        printed(told[0], 0, "a: cancelled\n")
    assert states(database)["a"] == ("done" if won else "cancelled")

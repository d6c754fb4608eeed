"""A history as attempts."""

from repro.scheduler import runs
from repro.scheduler.lists.timeline import timeline


def test_attempts_with_what_lay_between_them(database):
    runs.create_indexes(database)
    runs.submit(database, [runs.document("model", {"stage": "train"}, "f", [], [], submitted_by="me")])
    token = runs.claim(database, "box:1", (0,), 30)["lease"]["token"]
    runs.renew(database, "model", token, 30, {"progress": {"step": 7, "total": 9}, "cards": ["GPU-a"]})
    runs.hand_back(database, "model", token, {"step": 5, "location": "file:///s/x"}, why="told to stop")
    runs.hold(database, "model", by="you")
    runs.unhold(database, "model", by="you")
    token = runs.claim(database, "box:2", (0,), 30)["lease"]["token"]
    runs.renew(database, "model", token, 30, {"progress": {"step": 8, "total": 9}})
    now = timeline(database.runs.find_one({"_id": "model"}))
    assert (now.attempts[1].step, now.attempts[1].outcome, now.attempts[1].seconds) == (8, None, None)
    runs.cancel(database, "model", by="you")
    runs.retry(database, "model", by="you")
    token = runs.claim(database, "box:3", (0,), 30)["lease"]["token"]
    runs.complete(database, "model", token, "file:///s/model", {})
    found = timeline(database.runs.find_one({"_id": "model"}))
    told = [(a.number, a.worker, a.from_step, a.step, a.outcome, a.why, list(a.cards)) for a in found.attempts]
    assert told == [
        (1, "box:1", None, 7, "pending", "told to stop", ["GPU-a"]),
        (2, "box:2", 5, 8, "cancelled", "by you", []),
        (3, "box:3", 5, None, "done", "", []),
    ]
    assert [(e.to, e.by, e.why) for e in found.events] == [
        ("pending", "me", ""),
        ("pending", "you", "held"),
        ("pending", "you", "unheld"),
        ("pending", "you", ""),
    ]
    assert not found.forgotten
    assert all(attempt.waited is not None and attempt.waited >= 0 for attempt in found.attempts)
    assert all(attempt.seconds is not None for attempt in found.attempts)


def test_of_a_history_that_is_cut_the_rest_is_told(database):
    runs.create_indexes(database)
    runs.submit(database, [runs.document("model", {"stage": "train"}, "f", [], [])])
    for _ in range(40):
        token = runs.claim(database, "box:1", (0,), 30)["lease"]["token"]
        runs.hand_back(database, "model", token)
    found = timeline(database.runs.find_one({"_id": "model"}))
    assert len(found.attempts) == 25
    assert found.forgotten == (database.runs.find_one({"_id": "model"})["history"][0]["to"] == "running")
    assert timeline({}).attempts == []

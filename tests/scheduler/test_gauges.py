"""The queue's figures: right, and cheap however long the history."""

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import gauges as module
from repro.scheduler.lists.gauges import OTHERS, figures
from repro.scheduler.queue import workers
from repro.scheduler.runs import demands


def submit(db, *names, gpus=0, stage="train", **options):
    config = {"stage": stage, "gpus": gpus}
    runs.submit(db, [runs.document(name, config, name, [], [], **options) for name in names])


@pytest.fixture
def queue(database):
    runs.create_indexes(database)
    return database


def test_an_empty_queue_has_figures(queue):
    found = figures(queue)
    assert set(found.states.values()) == {0}
    assert (found.pending, found.oldest, found.failures) == ({}, {}, {})
    assert (found.workers, found.cards, found.places) == (0, 0, 0)


def test_what_is_pending_by_stage_and_gpus(queue):
    submit(queue, "a", "b")
    submit(queue, "c", stage="evaluate")
    submit(queue, "d", gpus=2)
    submit(queue, "e", held=True)
    submit(queue, "f", **demands.fields("site=a", held=False))
    runs.claim(queue, "w", [0], 30)
    workers.announce(queue, "w", ["GPU-1", "GPU-2"], 3)
    found = figures(queue)
    assert found.states["pending"] == 5
    assert found.states["running"] == 1
    assert found.pending == {
        ("train", 0, ""): 1,
        ("evaluate", 0, ""): 1,
        ("train", 2, ""): 1,
        ("train", 0, "site=a"): 1,
    }
    assert set(found.oldest) == {(0, ""), (2, ""), (0, "site=a")}
    assert all(0 <= seconds < 60 for seconds in found.oldest.values())
    assert (found.workers, found.cards, found.places) == (1, 2, 3)


def test_beyond_a_bound_the_stage_is_not_looked_up(queue, monkeypatch):
    monkeypatch.setattr(module, "FIRST", 3)
    submit(queue, *(f"a{n}" for n in range(5)))
    found = figures(queue).pending
    assert found == {("train", 0, ""): 3, (OTHERS, 0, ""): 2}


def test_failures_by_cause(queue):
    submit(queue, "a", "b", "c")
    for _ in range(3):
        run = runs.claim(queue, "w", [0], 30)
        kind = "ValueError" if run["_id"] != "c" else "StallLimit"
        assert runs.fail(queue, run["_id"], run["lease"]["token"], {"type": kind, "message": "x"})
    assert figures(queue).failures == {"ValueError": 2, "StallLimit": 1}


def test_counting_the_pending_reads_no_document(queue):
    submit(queue, *(f"a{n}" for n in range(50)))
    pipeline = module.by_need({"state": "pending", "held": {"$ne": True}})
    asked = {"aggregate": "runs", "pipeline": pipeline, "cursor": {}}
    told = queue.command("explain", asked, verbosity="executionStats")
    stats = told.get("executionStats") or told["stages"][0]["$cursor"]["executionStats"]
    assert stats["totalDocsExamined"] == 0
    assert stats["totalKeysExamined"] == 50

"""What waits, by why."""

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import waiting_groups
from repro.scheduler.queue import workers
from repro.scheduler.runs import Lack


@pytest.fixture
def db(database):
    runs.create_indexes(database)
    return database


def add(db, names, waiting_for=(), **options):
    config = {"stage": "train", "gpus": options.pop("gpus", 0)} | options.pop("config", {})
    made = [runs.document(name, config, name, list(waiting_for), list(waiting_for), **options) for name in names]
    assert not runs.submit(db, made)


def told(db):
    return {(group.state, group.reason, group.count, group.first) for group in waiting_groups.groups(db)}


def test_each_reason_once_with_how_many_and_one_of_them(db):
    workers.announce(db, "box:1", ["GPU-a"], 1)
    add(db, ["big1", "big2"], gpus=4)
    add(db, ["small2"])
    add(db, ["small1"], priority=5)
    add(db, ["card"], gpus=1)
    add(db, ["kept"], held=True)
    add(db, ["a", "b"], ["small1"])
    add(db, ["c"], ["gone"])
    add(db, ["faulty"], priority=9)
    token = runs.claim(db, "box:1", [0], 30)["lease"]["token"]
    assert runs.fail(db, "faulty", token, {"type": "E", "message": "m"}, again=True)
    assert told(db) == {
        ("pending", "needs 4 GPUs and no live worker has them", 2, "big1"),
        ("pending", "in line: all places are taken", 2, "small1"),
        ("pending", "in line for 1 GPU: all places are taken", 1, "card"),
        ("pending", "held", 1, "kept"),
        ("pending", "not before a time to come, after a fault of a machine", 1, "faulty"),
        ("waiting", "small1 is pending", 2, "a"),
        ("waiting", "gone is gone", 1, "c"),
    }
    assert waiting_groups.groups(db)[0].count == 2


def test_what_no_worker_knows_is_a_group_of_its_own(db):
    lack = Lack("train", "clip", "", "")
    workers.announce(db, "box:1", [], 1, lacks=[lack])
    add(db, ["new1", "new2"], config={"clip": 1})
    add(db, ["old"])
    assert told(db) == {
        ("pending", "worker box:1 lacks key clip of stage train", 2, "new1"),
        ("pending", "in line: all places are taken", 1, "old"),
    }
    workers.announce(db, "box:2", [], 1)
    assert {group.reason for group in waiting_groups.groups(db)} == {"in line: all places are taken"}


def test_of_many_sources_the_rest_is_told_as_one(db):
    for number in range(waiting_groups.MOST + 3):
        add(db, [f"child{number}"], [f"source{number}"])
    groups = waiting_groups.groups(db)
    assert len(groups) == waiting_groups.MOST + 1
    assert (groups[0].reason, groups[0].count) == ("wait for other sources", 3)


def test_an_empty_queue_has_none(db):
    assert told(db) == set()

"""A config whose fingerprint is done under another name is not computed again."""

import json

import pytest

from repro.scheduler import runs
from repro.scheduler.queue import lineage, lookup
from repro.scheduler.queue.submission import Change, Options, plan, submit


@pytest.fixture
def write(tmp_path):
    def call(name, **config):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(config))
        return path

    return call


@pytest.fixture
def files(write):
    """A chain of two, and the same chain under other names."""
    write("data", stage="make_dataset", images="*.png")
    write("datab", stage="make_dataset", images="*.png")
    return write("model", stage="train", source="data"), write("modelb", stage="train", source="datab")


def finish(db, *names):
    for name in names:
        run = runs.claim(db, "worker", [0], 30)
        assert run["_id"] == name
        result = {"outputs": [{"path": "a", "size": 1, "sha256": "0"}], "metrics": {"loss": 1.0}, "params": {}}
        assert runs.complete(db, name, run["lease"]["token"], f"file:///s/{name}-0", result)
        runs.release_children(db, [name])


def said(found):
    return [(s.name, s.state, s.same_as) for s in found]


def test_an_equal_chain_is_done_at_once_at_the_same_places(database, files):
    submit(database, files[:1])
    finish(database, "data", "model")
    assert set(plan(database, files[1:], Change()).equal) == {"datab", "modelb"}
    found = submit(database, files[1:], submit_options=Options(tags=("mine",)))
    assert said(found) == [("datab", "done", "data"), ("modelb", "done", "model")]
    assert found[1].location == "file:///s/model-0"
    one, other = (lookup.run(database, name) for name in ("model", "modelb"))
    assert other["history"][0]["why"] == "equal to model"
    kept = {"location", "outputs", "metrics", "params", "fingerprint", "stage"}
    assert {key: other[key] for key in kept} == {key: one[key] for key in kept}
    assert (other["sources"], other["config"]["source"], other["tags"]) == (["datab"], "datab", ["mine"])
    assert runs.claim(database, "worker", [0], 30) is None
    assert said(submit(database, files[1:]))[1] == ("modelb", "done", None)  # it is there already


def test_a_child_of_an_equal_run_starts_at_once(database, files, write):
    submit(database, files[:1])
    finish(database, "data")  # model is not done: its equal waits for nobody, and is computed
    child = write("child", stage="train", source="datab", lr=0.1)
    found = submit(database, [files[1], child])
    assert said(found) == [("datab", "done", "data"), ("modelb", "pending", None), ("child", "pending", None)]
    assert lineage.sources(database, lookup.run(database, "child"))["datab"]["location"] == "file:///s/data-0"


def test_again_computes(database, files):
    submit(database, files[:1])
    finish(database, "data", "model")
    found = submit(database, files[1:], Change(again=True))
    assert said(found) == [("datab", "pending", None), ("modelb", "waiting", None)]


def test_the_one_that_computed_is_named_and_not_one_that_took_over(database, write):
    a, b, c = (write(name, stage="make_dataset", images="*.png") for name in "abc")
    submit(database, [a])
    finish(database, "a")
    submit(database, [b])
    assert said(submit(database, [c])) == [("c", "done", "a")]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_only_what_is_done_is_taken_over(database, write, state):
    submit(database, [write("a", stage="make_dataset", images="*.png")])
    database.runs.update_one({"_id": "a"}, {"$set": {"state": state}})
    assert said(submit(database, [write("b", stage="make_dataset", images="*.png")])) == [("b", "pending", None)]


def test_a_name_that_was_taken_meanwhile_is_told(database, write, monkeypatch):
    """Another submitter inserts the same config between our look and our insert."""
    submit(database, [write("a", stage="make_dataset", images="*.png")])
    finish(database, "a")
    path, adopt = write("b", stage="make_dataset", images="*.png"), runs.adopt

    def late(db, documents):
        monkeypatch.setattr(runs, "adopt", adopt)
        submit(db, [path])
        return adopt(db, documents)

    monkeypatch.setattr(runs, "adopt", late)
    assert said(submit(database, [path])) == [("b", "done", None)]
    assert database.runs.count_documents({}) == 2

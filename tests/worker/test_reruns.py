"""Reruns in the queue: which inputs they read, who shares them, and what is kept of them."""

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import listing
from repro.scheduler.queue import lineage, lookup
from repro.stages.errors import ReproError
from repro.worker.audit import reruns


def done(db, name, sources=()):
    document = runs.document(name, {"stage": "train"}, name * 2, list(sources), [], location=f"file:///s/{name}-0")
    assert runs.restore(db, [document | {"outputs": [], "metrics": {}}]) == []
    return lookup.run(db, name)


class Marks:
    """A store that has these manifests."""

    def __init__(self, **sources):
        self.sources = sources

    def marks(self, locations):
        import json
        from types import SimpleNamespace

        for location in locations:
            name = location.rpartition("/")[2].partition("-")[0]
            if name in self.sources:
                data = json.dumps({"sources": {s: {"location": at} for s, at in self.sources[name].items()}})
                yield SimpleNamespace(location=location, data=data)


def test_a_rerun_reads_what_the_original_read(database):
    done(database, "data")
    original = done(database, "model", ["data"])
    (name,) = reruns.start(database, Marks(model={"data": "file:///s/data-0"}), [original], "me")
    rerun = lookup.run(database, name)
    assert (rerun["inputs"], rerun["sources"], rerun["verifies"]) == ({}, ["data"], "model")
    assert lineage.sources(database, rerun)["data"]["location"] == "file:///s/data-0"
    runs.cancel(database, name)
    # Since then, `data` was restored from another of its attempts.
    reruns.start(database, Marks(model={"data": "file:///s/data-1"}), [original], "me")
    found = lineage.sources(database, lookup.run(database, name))["data"]
    assert found["location"] == "file:///s/data-1"
    assert "outputs" not in found  # what lies there is told by the manifest there


def test_a_result_that_is_gone_is_told(database):
    done(database, "data")
    with pytest.raises(ReproError, match="gone from the store: file:///s/model-0"):
        reruns.start(database, Marks(), [done(database, "model", ["data"])], "me")


def test_one_run_has_one_rerun_at_a_time(database):
    original = done(database, "model")
    assert [runs.rerun(database, original, {}) for _ in range(2)] == ["model.verify"] * 2
    claimed = runs.claim(database, "worker", [0], 30)
    assert claimed["_id"] == "model.verify"
    runs.rerun(database, original, {})
    assert lookup.run(database, "model.verify")["lease"]["token"] == claimed["lease"]["token"]
    result = {"outputs": [], "metrics": {}}
    for _ in range(2):  # the reply to the first was lost
        assert runs.complete(database, "model.verify", claimed["lease"]["token"], "file:///s/model.verify-0", result)
    ended = lookup.run(database, "model.verify")
    assert (ended["state"], ended["history"][-1]["to"]) == ("verified", "verified")
    assert listing.counts(database) == {"done": 1, "verified": 1}
    runs.rerun(database, original, {})
    again = lookup.run(database, "model.verify")
    assert (again["state"], again["attempts"], "location" in again) == ("pending", 0, False)


def test_results_come_before_reruns(database):
    runs.rerun(database, done(database, "model"), {})
    runs.submit(database, [runs.document("new", {"stage": "train"}, "f", [], [])])
    assert runs.claim(database, "worker", [0], 30)["_id"] == "new"


def test_a_verdict_is_kept_once_and_no_more_than_so_many(database):
    before = done(database, "model")
    for number in range(runs.VERDICTS + 2):
        assert runs.record_verdict(database, "model", {"ended_at": number, "level": "$stage"})
        assert not runs.record_verdict(database, "model", {"ended_at": number, "level": "close"})
    after = lookup.run(database, "model")
    verdicts = after.pop("verdicts")
    assert [verdict["ended_at"] for verdict in verdicts] == list(range(2, runs.VERDICTS + 2))
    assert verdicts[0]["level"] == "$stage"
    assert after == before


def test_only_done_runs_are_chosen(database):
    for name in "abc":
        done(database, name)
    runs.submit(database, [runs.document("d", {"stage": "train"}, "f", [], [])])
    runs.rerun(database, lookup.run(database, "a"), {})
    assert [run["_id"] for run in reruns.choose(database, [])] == ["a", "b", "c"]
    assert len(reruns.choose(database, [], "train", 2)) == 2
    assert reruns.choose(database, [], "export") == []
    with pytest.raises(ReproError, match="d is pending"):
        reruns.choose(database, ["a", "d"])
    with pytest.raises(ReproError, match=r"a\.verify is pending"):
        reruns.choose(database, [r"a.verify"])

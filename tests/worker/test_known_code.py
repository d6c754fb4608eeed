"""A worker starts nothing that its code does not know."""

import json

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import listing
from repro.scheduler.queue import submission, workers
from repro.scheduler.runs import Lack
from repro.stages.errors import ConfigError

OLD = "def train(run):\n    return {'lr': run.params.get('lr', 0.1)}\n"
NEW = OLD + "\n\ndef clipped(run):\n    return train(run) | {'clip': run.params.get('clip', 1.0)}\n"


@pytest.fixture
def project(bench, monkeypatch):
    folder = bench.folder / "code"
    folder.mkdir()
    (folder / "mine.py").write_text(NEW)
    monkeypatch.chdir(folder)
    return folder


def submit(bench, project, name, **config):
    (project / f"{name}.json").write_text(json.dumps({"stage": "mine:train"} | config))
    return submission.submit(bench.db, [project / f"{name}.json"])


@pytest.mark.parametrize("code", [OLD.replace("lr", "rate"), "(((", None], ids=["older", "half-edited", "missing"])
def test_a_run_that_the_code_does_not_know_goes_back_uncounted_and_the_others_run(bench, project, code):
    submit(bench, project, "a", lr=0.5)
    (project / "mine.py").unlink()
    if code is not None:
        (project / "mine.py").write_text(code)
    bench.submit("b", "write")
    worker = bench.work()  # ends, though a run is pending
    run = bench.get("a")
    assert (run["state"], run["attempts"]) == ("pending", 0)
    assert len([entry for entry in run["history"] if entry["to"] == "running"]) == 1  # then it was passed over
    assert worker.name in run["history"][-1]["why"]
    assert bench.get("b")["state"] == "done"
    (project / "mine.py").write_text(OLD)
    bench.work()
    run = bench.get("a")
    assert (run["state"], run["attempts"], run["metrics"]) == ("done", 1, {"lr": 0.5})


def test_status_says_which_worker_lacks_what(bench, project):
    submit(bench, project, "a", lr=0.5)
    lack = Lack("mine:train", "lr", "a", "no code reads it")
    workers.announce(bench.db, "gpu3:7", [], 1, code="commit ab12 of 2026-11-24", lacks=[lack])
    (why,) = listing.why_waiting(bench.db, listing.newest(bench.db)).values()
    assert why.startswith("worker gpu3:7 lacks key lr of stage mine:train (its code is commit ab12 of 2026-11-24")
    workers.announce(bench.db, "gpu4:7", [], 1)
    (why,) = listing.why_waiting(bench.db, listing.newest(bench.db)).values()
    assert why == "next in line"


def test_a_key_that_was_allowed_is_no_lack_and_nothing_is_adopted_from_what_did_not_read_it(bench, project):
    (project / "a.json").write_text(json.dumps({"stage": "mine:train", "odd": 1}))
    with pytest.raises(ConfigError, match='reads "odd"'):
        submission.submit(bench.db, [project / "a.json"])
    submission.submit(bench.db, [project / "a.json"], submission.Change(allow_unknown=["odd"]))
    assert bench.get("a")["allow_unknown"] == ["odd"]
    bench.work()
    assert (bench.get("a")["state"], bench.get("a")["unread"]) == ("done", ["odd"])
    (project / "b.json").write_text((project / "a.json").read_text())
    (made,) = submission.submit(bench.db, [project / "b.json"], submission.Change(allow_unknown=["odd"]))
    assert (made.state, made.same_as) == ("pending", None)


def test_a_run_whose_sources_are_others_than_those_it_was_submitted_for_is_refused(bench):
    bench.submit("data", "write", text="one")
    bench.submit("child", "write", source=["data"])
    bench.db.runs.update_one({"_id": "data"}, {"$set": {"fingerprint": "f" * 64}})
    bench.work()
    run = bench.get("child")
    assert (run["state"], run["attempts"]) == ("failed", 1)
    assert "submitted for other sources than those that are called data now" in run["error"]["message"]


def test_no_child_is_inserted_behind_a_source_whose_name_was_taken(bench):
    bench.submit("data", "write", text="theirs")
    documents = [runs.document("data", {"stage": "toy_write"}, "a" * 64, [], [])]
    documents.append(runs.document("child", {"stage": "toy_write", "source": "data"}, "b" * 64, ["data"], ["data"]))
    assert runs.submit(bench.db, documents) == ["data", "child"]
    assert bench.get("child") is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"priority": 2**64}, "priority: expected an integer"), ({"priority": True}, "priority"),
        ({"time_limit": float("nan")}, "time_limit: expected seconds"), ({"stall_limit": 0}, "stall_limit"),
        ({"tags": "one"}, "tags: expected a list"), ({"held": 1}, "held"), ({"max_attempts": 0}, "max_attempts"),
    ],
)  # fmt: skip
def test_options_of_a_submit_have_their_ranges(options, says):
    with pytest.raises(ConfigError, match=says):
        submission.Options(**options)

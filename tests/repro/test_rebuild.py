"""`repro rebuild` and `repro gc`, as a user calls them: the store gives back what MongoDB has lost."""

import json
import os
import shutil
import sys

import pytest

from tests import toy

CONFIGS = {
    "a": {"stage": "toy_write_typed", "text": "a", "lr": 1.0, "steps": 2**40, "note": None, "seed": 3},
    "b": {"stage": "toy_passes_on", "source": "a"},
    "c": {"stage": "toy_reads_passed", "source": ["b"]},
    "bad": {"stage": "toy_raises"},
}
QUEUE_ONLY = {
    "code",
    "submitted_at",
    "submitted_by",
    "started_at",
    "finished_at",
    "history",
    "attempts",
    "priority",
    "tags",
}


@pytest.fixture
def repro(cli, tmp_path, settings_environment):
    toy.install(tmp_path / "toy")
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    for name, config in CONFIGS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))

    def call(*words):
        return cli(sys.executable, "-m", "repro", *words)

    return call


@pytest.fixture
def done(repro, work, database, tmp_path):
    """A chain of done runs with a file passed on, and a failed run; gives the documents and the store."""
    paths = [str(tmp_path / f"{name}.json") for name in ("c", "bad")]
    made = repro("submit", "--priority", "4", *paths)
    assert made.returncode == 0, made.stderr
    assert repro("gc").returncode == 0  # as a worker does: takes the empty store for this queue
    work()
    return documents(database), tmp_path / "store"


def documents(database):
    return {document["_id"]: document for document in database.runs.find({"state": "done"})}


def results(found):
    return {name: {k: v for k, v in d.items() if k not in QUEUE_ONLY} for name, d in found.items()}


def folder_of(store, name):
    (found,) = store.glob(f"{name}-*")
    return found


def second(store, name, **changes):
    """Another complete attempt of a run, younger; some of its manifest changed."""
    first = folder_of(store, name)
    copy = store / f"{name}-00000000"
    shutil.copytree(first, copy)
    mark = json.loads((copy / "repro-run.json").read_text()) | changes
    (copy / "repro-run.json").unlink()
    (copy / "repro-run.json").write_text(json.dumps(mark))
    return copy


def test_every_done_run_comes_back_equal(repro, database, done):
    before, _ = done
    assert set(before) == {"a", "b", "c"}
    assert "unread" not in before["a"]
    assert before["c"]["outputs"][1]["location"] == f"{before['a']['location']}/text.txt"
    database.client.drop_database(database.name)
    dry = repro("rebuild", "--dry-run")
    assert "3 would be restored" in dry.stderr
    assert database.list_collection_names() == []
    made = repro("rebuild", "--json", "--check")
    assert made.returncode == 0, made.stderr
    assert [run["name"] for run in json.loads(made.stdout)["restored"]] == ["a", "b", "c"]
    after = documents(database)
    assert results(after) == results(before)
    for name, document in after.items():
        assert json.dumps(document["config"]) == json.dumps(before[name]["config"])
        assert set(before[name]) - set(document) <= {"code", "started_at", "submitted_by"}
        assert abs((document["finished_at"] - before[name]["finished_at"]).total_seconds()) < 60
    assert "3 have a document" in repro("rebuild").stderr
    assert repro("show", "c").returncode == 0
    assert "3 done" in repro("status").stderr


def test_keys_that_nothing_read_are_known_after_a_rebuild(repro, work, database, tmp_path):
    config = {"stage": "toy_write", "text": "a", "lr": 1.0, "steps": 2**40, "note": None, "seed": 3}
    (tmp_path / "odd.json").write_text(json.dumps(config))
    allowed = [word for key in ("lr", "steps", "note") for word in ("--allow-unknown", key)]
    made = repro("submit", *allowed, str(tmp_path / "odd.json"))
    assert made.returncode == 0, made.stderr
    work()
    before = documents(database)
    assert before["odd"]["unread"] == ["lr", "note", "steps"]
    database.client.drop_database(database.name)
    assert repro("rebuild").returncode == 0
    known = {"allow_unknown"}  # of the submit, as is the code
    assert {k: v for k, v in results(before)["odd"].items() if k not in known} == results(documents(database))["odd"]


def test_the_queue_goes_on_after_a_rebuild(repro, work, database, done, tmp_path):
    database.client.drop_database(database.name)
    assert repro("rebuild").returncode == 0
    assert "already submitted, done" in repro("submit", str(tmp_path / "c.json")).stdout
    (tmp_path / "d.json").write_text('{"stage": "toy_write", "source": "a", "text": "d"}')
    assert repro("submit", str(tmp_path / "d.json")).returncode == 0
    work()
    assert database.runs.find_one({"_id": "d"})["metrics"] == {"length": 2}


def test_many_outputs_come_back_bounded(repro, database, done):
    from repro.worker.store.outputs import bounded

    _, store = done
    outputs = [{"path": f"f{n:04}", "size": 0, "sha256": "e3b0"} for n in range(1001)]
    folder = second(store, "a", outputs=outputs)
    shutil.rmtree(next(path for path in store.glob("a-*") if path != folder))
    for output in outputs:
        (folder / output["path"]).touch()
    database.runs.delete_one({"_id": "a"})
    assert repro("rebuild").returncode == 0
    found = database.runs.find_one({"_id": "a"})
    assert {key: found[key] for key in ("outputs", "outputs_total")} == bounded(
        outputs, (folder / "repro-run.json").read_bytes()
    )
    assert len(found["outputs"]) == 1000


def test_documents_that_exist_are_left_alone(repro, database, done):
    database.runs.delete_one({"_id": "b"})
    before = documents(database)
    made = repro("rebuild", "--json")
    assert [run["name"] for run in json.loads(made.stdout)["restored"]] == ["b"]
    assert {name: d for name, d in documents(database).items() if name != "b"} == before


@pytest.mark.parametrize("is_source", [True, False])
def test_of_two_attempts_the_one_that_is_named_is_taken_then_the_oldest(repro, database, done, is_source):
    before, store = done
    name = "a" if is_source else "c"
    younger = second(store, name)
    if is_source:
        os.utime(younger / "repro-run.json", (1, 1))  # oldest by far, but nobody's source
    database.client.drop_database(database.name)
    made = repro("rebuild")
    assert made.returncode == 0
    assert f"{name}: 2 complete attempts" in made.stderr
    assert ("names it as its source" if is_source else "it is the oldest") in made.stderr
    assert documents(database)[name]["location"] == before[name]["location"]


@pytest.mark.parametrize("lost", [True, False])
def test_of_two_computations_with_one_name_none_is_guessed(repro, database, done, lost):
    _, store = done
    second(store, "a", fingerprint="f" * 64)
    if lost:
        database.client.drop_database(database.name)
    made = repro("rebuild")
    assert made.returncode == 1
    assert "a: 2 different computations have this name" in made.stderr
    assert set(documents(database)) == ({"b", "c"} if lost else {"a", "b", "c"})


def test_what_is_broken_is_reported_and_skipped(repro, database, done):
    _, store = done
    texts = {"x-00000001": "{", "x-00000002": "[]", "x-00000003": "{}", "x-00000004": '{"config": {"stage": 1}}'}
    for name, text in texts.items():
        (store / name).mkdir()
        (store / name / "repro-run.json").write_text(text)
    shutil.copytree(folder_of(store, "a"), store / "y-00000001")  # says that it is a
    output = folder_of(store, "c") / "copy.txt"
    output.chmod(0o644)
    output.write_text("b")
    database.client.drop_database(database.name)
    made = repro("rebuild", "--dry-run", "--json")
    assert [run["name"] for run in json.loads(made.stdout)["restored"]] == ["a", "b", "c"]
    made = repro("rebuild", "--check")
    assert made.returncode == 1
    assert "Traceback" not in made.stderr
    assert made.stderr.count("is broken, skipped") == 5
    assert "SHA-256" in made.stderr
    assert set(documents(database)) == {"a", "b"}
    output.write_text("longer")
    assert "6 bytes and SHA-256" in repro("rebuild").stderr
    output.unlink()
    assert "gone from the store" in repro("rebuild").stderr
    assert set(documents(database)) == {"a", "b"}


def test_gc_lists_and_removes_only_when_asked(repro, database, done, tmp_path):
    _, store = done
    orphan = store / "a-01234567"
    orphan.mkdir()
    assert json.loads(repro("gc", "--json").stdout) == []
    (found,) = json.loads(repro("gc", "--older-than", "0", "--json").stdout)
    assert (found["location"], found["removed"]) == (f"file://{orphan}", False)
    assert orphan.exists()
    made = repro("gc", "--older-than", "0", "--delete")
    assert made.returncode == 0
    assert "1 folders, 0 bytes removed" in made.stderr
    assert not orphan.exists()
    assert len(list(store.glob("*-????????"))) == 4


def test_a_place_that_two_documents_name_is_kept_for_each(repro, database, done, tmp_path):
    before, _ = done
    (tmp_path / "e.json").write_text(json.dumps(CONFIGS["a"]))
    assert "e: submitted, done at once: equal to a" in repro("submit", str(tmp_path / "e.json")).stdout
    database.runs.delete_one({"_id": "a"})
    assert json.loads(repro("gc", "--older-than", "0", "--delete", "--json").stdout) == []
    assert repro("rebuild").returncode == 0
    after = documents(database)
    assert results(after)["a"] == results(before)["a"]
    assert after["e"]["location"] == after["a"]["location"]


def test_gc_refuses_when_the_database_was_lost_or_the_store_is_not_its_own(repro, database, done, cli):
    _, store = done
    database.runs.delete_many({})
    refused = repro("gc", "--delete", "--older-than", "0")
    assert refused.returncode == 2
    assert "repro rebuild" in refused.stderr
    assert len(list(store.glob("*-????????"))) == 4
    for command in ("gc", "rebuild"):
        other = cli(sys.executable, "-m", "repro", command, REPRO_STORE=str(store.parent / "other"))
        assert other.returncode == 2
        assert "keeps its results in" in other.stderr

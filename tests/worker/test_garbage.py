"""`gc` removes what nothing needs, and nothing else."""

import json
import os
import time

import pytest
from botocore.session import Session

from repro.scheduler import runs
from repro.stages.errors import ReproError
from repro.worker.audit import store_recovery
from repro.worker.audit.garbage import Collector
from repro.worker.audit.garbage import _path as local_path

TOKEN = "0123456789abcdef"


@pytest.fixture
def collector(bench):
    return Collector(bench.db, bench.store, bench.folder / "home", older_than=0, sole=True)


def names(leftovers):
    return [leftover.location.rpartition("/")[2] for leftover in leftovers]


def attempt(bench, name, token=TOKEN, manifest=None):
    """A folder as an attempt leaves it: unfinished, or complete."""
    location = bench.store.location(name, token)
    bench.store.open_attempt(location)
    bench.store.create(location, "repro-config.json", b"{}")
    if manifest is not None:
        bench.store.create(location, "repro-run.json", json.dumps(manifest).encode())
    return location


def chain(bench):
    """Three done runs, the last with a file that was passed on, and a failed one with its log."""
    bench.submit("a", "write", text="a")
    bench.submit("b", "passes_on", source=["a"])
    bench.submit("c", "reads_passed", source=["b"])
    bench.submit("bad", "raises")
    bench.work()


def test_nothing_that_is_named_is_found(bench, collector):
    chain(bench)
    assert len(bench.store.attempts()) == 4
    assert collector.plan() == []


def test_orphans_are_found_and_removed_and_the_rest_stays(bench, collector):
    chain(bench)
    kept = bench.store.attempts()
    unfinished = attempt(bench, "a")
    twin = json.loads(bench.store.read(bench.get("b")["location"], "repro-run.json"))
    complete = attempt(bench, "b", manifest=twin)
    work = bench.folder / "home" / "work" / "c-01234567"
    work.mkdir(parents=True)
    (work / "repro-log.txt").write_text("1234")
    found = collector.plan()
    assert names(found) == ["a-01234567", "b-01234567", "c-01234567"]
    assert [leftover.size for leftover in found][::2] == [2, 4]
    assert "complete, but its run is done without it" in found[1].why
    assert [leftover.location for leftover in collector.delete(found)] == [unfinished, complete, f"file://{work}"]
    assert bench.store.attempts() == kept
    assert not work.exists()
    assert collector.plan() == []


def test_what_has_changed_lately_is_left_alone(bench, collector):
    bench.run("a", "write")
    folder = local_path(attempt(bench, "a"))
    collector.older_than = 3600
    assert collector.plan() == []
    for path in (folder, folder / "repro-config.json"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert names(collector.plan()) == ["a-01234567"]
    os.utime(folder / "repro-config.json")  # something inside is young
    assert collector.plan() == []


def test_a_running_attempt_is_kept_with_its_work_folder(bench, collector):
    bench.submit("a", "write")
    runs.claim(bench.db, "w", [0], lease=60, token=TOKEN)
    attempt(bench, "a")
    (bench.folder / "home" / "work" / "a-01234567").mkdir(parents=True)
    assert collector.plan() == []
    runs.cancel(bench.db, "a")
    assert names(collector.plan()) == ["a-01234567", "a-01234567"]


@pytest.mark.parametrize("change", ["claimed", "done", "failed with its log", "named by another's manifest"])
def test_what_comes_to_be_needed_between_plan_and_removal_is_kept(bench, collector, change):
    bench.submit("a", "write")
    location = attempt(bench, "a")
    planned = collector.plan()
    assert names(planned) == ["a-01234567"]
    runs.claim(bench.db, "w", [0], lease=60, token=TOKEN)
    result = {"outputs": [], "metrics": {}, "params": {}, "environment": {}}
    if change == "done":
        assert runs.complete(bench.db, "a", TOKEN, location, result)
    elif change.startswith("failed"):
        error = {"type": "ValueError", "message": "boom", "log": f"{location}/repro-log.txt"}
        assert runs.fail(bench.db, "a", TOKEN, error)
    elif change.startswith("named"):
        attempt(bench, "b", manifest={"sources": {"a": {"location": location}}})
    assert collector.delete(planned) == []
    assert bench.store.attempts()[0] == location


def test_a_folder_that_another_manifest_names_is_kept(bench, collector):
    bench.run("a", "write")
    named = attempt(bench, "a")
    bench.submit("b", "write", source=["a"], waiting_for=[])
    passed_on = {"path": "x", "size": 1, "sha256": "0", "location": f"{named}/text.txt"}
    manifest = {"fingerprint": bench.get("b")["fingerprint"], "outputs": [passed_on]}
    attempt(bench, "b", manifest=manifest)
    assert names(collector.plan()) == ["b-01234567"]


def test_what_this_queue_does_not_know_is_shown_and_kept(bench, collector):
    bench.run("a", "write")
    attempt(bench, "unknown", manifest={"fingerprint": "f"})
    attempt(bench, "a", manifest={"fingerprint": "another"})
    broken = attempt(bench, "a", token="fedcba9876543210")
    bench.store.create(broken, "repro-run.json", b"{")
    found = collector.plan()
    assert [leftover.kept for leftover in found] == [True] * 3
    before = bench.store.attempts()
    assert collector.delete(found) == []
    assert bench.store.attempts() == before


def test_other_folders_of_the_store_are_none_of_ours(bench, collector):
    bench.run("a", "write")
    (bench.folder / "store" / "notes").mkdir()
    (bench.folder / "store" / "a-01234567").write_text("a file")
    (bench.folder / "store" / "a-fedcba98").symlink_to(bench.folder)
    assert collector.plan() == []


def test_after_the_loss_of_the_database_nothing_is_removed(bench, collector):
    chain(bench)
    before = bench.store.attempts()
    bench.db.drop_collection("runs")
    found = collector.plan()
    assert [(name.partition("-")[0], f.kept) for name, f in zip(names(found), found, strict=True)] == [
        ("bad", True),
        ("c", True),  # whose manifest, and b's, name the others
    ]
    with pytest.raises(ReproError, match="repro rebuild"):
        collector.delete(found)
    bench.submit("new", "write")
    assert collector.delete(found) == []
    assert bench.store.attempts() == before


def test_a_removal_takes_the_mark_first(bench, monkeypatch):
    location = attempt(bench, "a", manifest={})

    def dies(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("repro.worker.store.objects.folder.shutil.rmtree", dies)
    with pytest.raises(KeyboardInterrupt):
        bench.store.remove(location)
    assert [path.name for path in local_path(location).iterdir()] == ["repro-config.json"]


def test_on_s3_orphans_unfinished_uploads_and_probes_go_and_the_rest_stays(remote):
    bench = remote
    chain(bench)
    bench.submit("busy", "write")
    runs.claim(bench.db, "w", [0], lease=60, token=TOKEN)
    kept = bench.store.attempts()
    attempt(bench, "a")
    objects, client = bench.store.objects, Session().create_client("s3")
    for key in ("a-01234567/large.bin", f"busy-{TOKEN[:8]}/large.bin"):
        client.create_multipart_upload(Bucket=objects.bucket, Key=f"runs/{key}")
    objects.create(".probe/0123", b"probe")
    collector = Collector(bench.db, bench.store, bench.folder / "home", older_than=0, sole=True)
    found = collector.plan()
    assert {leftover.why for leftover in found} == {"unfinished attempt", "unfinished upload", "a probe of the store"}
    assert len(found) == 3
    assert len(collector.delete(found)) == 3
    assert bench.store.attempts() == kept
    assert [upload.key.partition("/")[0] for upload in objects.unfinished()] == [f"busy-{TOKEN[:8]}"]
    assert collector.plan() == []


def test_the_queue_is_rebuilt_from_s3(remote):
    bench = remote
    chain(bench)
    before = {run["_id"]: run for run in bench.db.runs.find({"state": "done"})}
    bench.db.client.drop_database(bench.db.name)
    ready = store_recovery.plan(bench.db, bench.store, checksums=True)
    assert ready.problems == []
    assert store_recovery.restore(bench.db, bench.store, ready) == ["a", "b", "c"]
    for name, run in before.items():
        for field in ("config", "fingerprint", "location", "outputs", "metrics", "params", "environment", "usage"):
            assert bench.get(name)[field] == run[field], field

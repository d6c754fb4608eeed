"""No queue takes another's results for its own, and no other disk is taken for the store."""

import dataclasses
import shutil

import pytest

from repro.scheduler.queue import workers
from repro.stages.errors import ReproError
from repro.worker.audit.garbage import Collector
from repro.worker.store import identity
from repro.worker.store.store import Store
from tests.worker.conftest import Bench


@pytest.fixture
def two_queues(bench, mongo_server, fork_server):
    """Two queues on one store, each with a done run of the same name and fingerprint, and what an attempt has left."""
    other = Bench(bench.db.client[f"{bench.db.name}_other"], bench.folder, fork_server)
    other.executor = dataclasses.replace(other.executor, store=bench.store)
    for one in (bench, other):
        identity.of(bench.store, workers.queue_id(one.db), None)
        one.run("a", "write")
    yield bench, other
    bench.db.client.drop_database(other.db.name)


def test_gc_of_one_queue_leaves_what_is_another_queues(two_queues):
    ours, theirs = two_queues
    whose = identity.of(ours.store, workers.queue_id(ours.db), None)
    assert not whose.sole
    lost = f"{ours.store.url}/a-{'0' * 8}"  # an attempt that no document knows: the other queue's, running, say
    ours.store.open_attempt(lost)
    ours.store.create(lost, "repro-config.json", b"{}")
    collector = Collector(ours.db, ours.store, ours.folder / "home", 0, whose.sole)
    planned = collector.plan()
    assert {leftover.location for leftover in planned} == {theirs.get("a")["location"], lost}
    assert collector.delete(planned) == []
    assert {"another queue's, for all that is known here"} == {leftover.why for leftover in planned}


def test_what_the_queue_remembers_is_its_own(two_queues):
    ours, _ = two_queues
    location = ours.get("a")["location"]
    ours.db.runs.update_one({"_id": "a"}, {"$set": {"location": "elsewhere", "state": "cancelled"}})
    collector = Collector(ours.db, ours.store, ours.folder / "home", 0)
    assert [leftover.location for leftover in collector.delete(collector.plan())] == [location]


def test_a_queue_alone_on_a_store_that_was_empty_is_sole_and_one_of_earlier_is_not(bench, tmp_path):
    queue = workers.queue_id(bench.db)
    assert identity.of(bench.store, queue, None).sole
    earlier = Store.open(f"file://{tmp_path}/earlier", tmp_path / "home")
    earlier.objects.check()
    earlier.open_attempt(f"{earlier.url}/a-{'0' * 8}")
    assert not identity.of(earlier, queue, None).sole


def test_another_disk_under_the_same_path_is_refused(bench):
    known = identity.of(bench.store, workers.queue_id(bench.db), None).id
    workers.fix_store(bench.db, bench.store.url, True, known)
    shutil.rmtree(bench.folder / "store")
    bench.store.objects.check()
    for act in (lambda: identity.of(bench.store, "q", known), lambda: identity.check(bench.store, known)):
        with pytest.raises(ReproError, match="is not the store of this queue, though it is called the same"):
            act()
    other = identity.of(bench.store, "another queue", None).id
    with pytest.raises(ReproError, match="is not the store of this queue"):
        workers.fix_store(bench.db, bench.store.url, True, other)


def test_on_s3_too(remote):
    queue = workers.queue_id(remote.db)
    first = identity.of(remote.store, queue, None)
    assert first.sole
    assert identity.of(remote.store, queue, first.id) == first
    assert not identity.of(remote.store, "another", first.id).sole

"""The points of the checker that look at the store, over a bucket of a real S3 server that is tampered with."""

import pytest

from repro.worker.store.store import Store
from tests.chaos.objects import BucketObjects
from tests.chaos.recorder import Recorder
from tests.chaos.test_checker import LEASE, TOKEN, Scene
from tests.worker.test_worker import wait_for


class BucketScene(Scene):
    """The scene of the checker's other tests, with its results in a bucket."""

    def key(self, name, path):
        """Of an object of a run."""
        return f"{self.objects.prefix}{self.bench.get(name)['location'].rpartition('/')[2]}/{path}"

    def ask(self, operation, key, **more):
        return getattr(self.objects.client, operation)(Bucket=self.objects.bucket, Key=key, **more)


@pytest.fixture
def scene(bench, ceph, mongo_server, witness):
    for name, value in ceph.environment.items():
        witness.setenv(name, value)
    bench.store = bench.executor.store = Store.open(f"s3://{ceph.bucket()}/runs", bench.folder / "home")
    with Recorder(mongo_server, bench.db.name, BucketObjects(ceph, bench.store.url), LEASE) as recorder:
        found = BucketScene(bench, recorder)
        found.chain()
        yield found


def test_a_history_without_a_fault_of_the_product_has_no_violation(scene):
    assert scene.verdict() == {}
    assert scene.seen_wrongly("abc") == set()


def test_a_changed_byte_is_seen(scene):
    key = scene.key("b", "text.txt")
    scene.ask("put_object", key, Body=b"aB")
    found = scene.verdict()
    assert found.keys() == {"folders", "write-once", "written"}
    path = key.removeprefix(scene.objects.prefix)
    assert found["folders"][0].startswith(f"b: {path} is ")
    assert found["write-once"][0].startswith(f"{path}: was ")


def test_a_change_that_was_undone_is_seen(scene):
    key, seen = scene.key("b", "text.txt"), scene.history.written
    scene.ask("put_object", key, Body=b"??")
    wait_for(lambda: [w for w in seen if key.endswith(w.path)][1:])
    scene.ask("put_object", key, Body=b"ab")
    found = scene.verdict()
    assert found.keys() == {"write-once"}


@pytest.mark.parametrize("name", ["repro-run.json", "repro-log.txt", "text.txt"])
def test_an_object_that_is_gone_is_seen(scene, name):
    key = scene.key("c", name)
    scene.ask("delete_object", key)
    found = scene.verdict()
    assert key.removeprefix(scene.objects.prefix) in found["folders"][0]
    assert found["write-once"][0].endswith(" is gone")


def test_what_gc_leaves_behind_is_seen(scene):
    """A folder that nobody refers to, and an upload that nobody will end, in a folder that is referred to."""
    scene.ask("put_object", f"{scene.objects.prefix}b-{TOKEN[:8]}/repro-config.json", Body=b"{}")
    unfinished = scene.key("c", "large.bin")
    scene.ask("create_multipart_upload", unfinished)
    path = unfinished.removeprefix(scene.objects.prefix)
    assert scene.verdict(collect=False) == {
        "leftovers": [f"b-{TOKEN[:8]}: nothing refers to it", f"{path}: its upload was not ended"]
    }
    assert scene.verdict() == {}  # which collects

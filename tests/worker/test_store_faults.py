"""S3 through a proxy that drops replies, stalls, cuts and answers 503: the store gets through or says so."""

import hashlib
import os

import pytest

from repro.stages import s3_client
from repro.stages.errors import Unreachable
from repro.worker.store.objects.s3 import PART
from repro.worker.store.store import Store
from tests.chaos.proxy import HttpFaults
from tests.s3 import Server


@pytest.fixture(params=["ceph", "seaweedfs"])
def scene(request, tmp_path, monkeypatch):
    """A store behind a proxy, and the proxy."""
    server = request.getfixturevalue(request.param)
    monkeypatch.setitem(s3_client.CLIENT, "read_timeout", "3s")  # of 20: what is waited for here is that it ends
    with HttpFaults(server.port) as proxy:
        for name, value in Server(server.kind, proxy.port).environment.items():
            monkeypatch.setenv(name, value)
        yield Store.open(f"s3://{server.bucket()}/runs", tmp_path / "home"), proxy


LOCATION = "model-01234567"


def pushed(store, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (output,) = store.push(f"{store.url}/{LOCATION}", tmp_path, [name])
    assert output == {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return output


@pytest.mark.parametrize("fault", ["drop reply", "drop request", "503", "500", "409"])
def test_a_create_that_was_disturbed_is_done_once(scene, fault):
    store, proxy = scene
    proxy.next(method="PUT", contains="repro-run.json", fault=fault)
    store.create(f"{store.url}/{LOCATION}", "repro-run.json", b"whole")
    assert [strike[0] for strike in proxy.struck] == [fault]
    assert store.read(f"{store.url}/{LOCATION}", "repro-run.json") == b"whole"
    with pytest.raises(FileExistsError):
        store.create(f"{store.url}/{LOCATION}", "repro-run.json", b"other")


@pytest.mark.parametrize("fault", ["drop reply", "drop request", "503"])
@pytest.mark.parametrize("which", ["?uploads", "partNumber=2", "uploadId="])
def test_a_large_upload_that_was_disturbed_is_whole_and_leaves_no_parts(scene, tmp_path, fault, which):
    store, proxy = scene
    data = os.urandom(3 * PART + 1)
    proxy.next(method="POST" if which != "partNumber=2" else "PUT", contains=which, fault=fault)
    pushed(store, tmp_path, "large.bin", data)
    assert len(proxy.struck) == 1
    assert store.read(f"{store.url}/{LOCATION}", "large.bin") == data


def test_a_large_upload_that_failed_leaves_nothing_visible_and_its_parts_can_be_dropped(scene, tmp_path):
    store, proxy = scene
    (tmp_path / "large.bin").write_bytes(os.urandom(3 * PART))
    proxy.next(method="PUT", contains="partNumber=2", fault="403", times=100)
    with pytest.raises(Unreachable):
        store.push(f"{store.url}/{LOCATION}", tmp_path, ["large.bin"])
    proxy.forget()
    assert store.contents(f"{store.url}/{LOCATION}") == []
    store.objects.abort(store.objects.unfinished())
    assert store.objects.unfinished() == []
    pushed(store, tmp_path, "large.bin", (tmp_path / "large.bin").read_bytes())


@pytest.mark.parametrize("size", [100_000, 2 * PART + 1])
@pytest.mark.parametrize("fault", ["truncate", "drop reply", "503"])
def test_a_pull_that_was_disturbed_brings_every_byte(scene, tmp_path, size, fault):
    store, proxy = scene
    data = os.urandom(size)
    output = pushed(store, tmp_path, "data.bin", data)
    proxy.next(method="GET", contains="data.bin", fault=fault)
    store.pull([output], f"{store.url}/{LOCATION}", tmp_path / "in")
    assert len(proxy.struck) == 1
    assert (tmp_path / "in" / "data.bin").read_bytes() == data


def test_a_store_that_is_gone_is_said_in_a_line_and_nothing_partial_is_left(scene, tmp_path, monkeypatch):
    store, proxy = scene
    output = pushed(store, tmp_path, "data.bin", os.urandom(100_000))
    proxy.next(method="GET", contains="data.bin", fault="truncate", times=1000)
    with pytest.raises(Unreachable) as raised:
        store.pull([output], f"{store.url}/{LOCATION}", tmp_path / "in")
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "in").iterdir()) == []
    assert not store.cache.has(output["sha256"])


def test_a_stalled_request_is_given_up_and_made_again(scene, tmp_path):
    store, proxy = scene
    output = pushed(store, tmp_path, "data.bin", b"data")
    proxy.next(method="GET", contains="data.bin", fault="stall", seconds=30)
    store.pull([output], f"{store.url}/{LOCATION}", tmp_path / "in")
    assert (tmp_path / "in" / "data.bin").read_bytes() == b"data"

"""`python -m repro.tools.provision` on a MongoDB that has just been started, as docker-compose.yml calls it."""

import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from repro.scheduler import runs
from repro.scheduler.server import mongod
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests import s3
from tests.ports import free_port

ROLES = Path(__file__).parents[2] / "deploy" / "mongodb" / "roles.json"


class Fresh:
    """A mongod that nobody has initiated, and the provisioner's environment."""

    def __init__(self, folder, port, bucket, s3_environment):
        self.folder, self.port = folder, port
        self.environment = s3_environment | {
            "REPRO_MONGO_URL": self.url("root", "first"),
            "REPRO_MONGO_MEMBER": f"{mongod.HOST}:{port}",
            "REPRO_MONGO_ROLES": str(ROLES),
            "REPRO_WORKER_PASSWORD": "w1",
            "REPRO_OPERATOR_PASSWORD": "o1",
            "REPRO_STORE": f"s3://{bucket}/runs",
            "PATH": "/usr/bin:/bin",
        }

    def url(self, user, password):
        return f"mongodb://{user}:{password}@{mongod.HOST}:{self.port}/repro?authSource=admin&directConnection=true"

    def provision(self, **changes):
        environment = {k: v for k, v in (self.environment | changes).items() if v is not None}
        command = [sys.executable, "-m", "repro.tools.provision"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)

    def as_user(self, user, password):
        return connect(Settings.read({"REPRO_MONGO_URL": self.url(user, password)}))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, seaweedfs):
    folder, port = tmp_path_factory.mktemp("fresh"), free_port()
    key = folder / "key"
    key.write_text("a shared secret of the replica set")
    key.chmod(0o600)
    options = ["--replSet", "rs0", "--keyFile", key, "--bind_ip", mongod.HOST, "--quiet", "--logpath", folder / "log"]
    process = subprocess.Popen(
        [mongod.find(), "--dbpath", folder, "--port", str(port), *options], stdout=subprocess.DEVNULL
    )
    yield Fresh(folder, port, f"made-{port}", seaweedfs.environment)
    process.kill()
    process.wait()


def test_the_first_start_and_every_other_one(fresh):
    first = fresh.provision()
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "MongoDB: ready; users worker, operator"
    assert first.stdout.splitlines()[1].endswith("/runs: made")
    with fresh.as_user("operator", "o1").client as client:
        runs.submit(client.repro, [runs.document("a", {"stage": "noop"}, "a", [], [])])
        assert "claim" in client.repro.runs.index_information()
        with pytest.raises(OperationFailure):
            client.repro.runs.delete_one({"_id": "a"})
    again = fresh.provision()
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1].endswith("/runs: is there")
    with fresh.as_user("worker", "w1").client as client:
        assert runs.claim(client.repro, "w", [0], 30)["_id"] == "a"
        with pytest.raises(OperationFailure):
            client.repro.runs.create_index("x")


def test_a_changed_password_of_a_user_is_taken_over(fresh):
    assert fresh.provision(REPRO_WORKER_PASSWORD="w2").returncode == 0
    with fresh.as_user("worker", "w2").client as client:
        client.repro.runs.find_one()
    with MongoClient(fresh.url("worker", "w1")) as client, pytest.raises(OperationFailure):
        client.repro.runs.find_one()


def test_another_password_of_the_administrator_is_told(fresh):
    assert fresh.provision().returncode == 0
    done = fresh.provision(REPRO_MONGO_URL=fresh.url("root", "second"))
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "error: MongoDB knows its administrator by another password than the one given; "
        "give the one that its data were made with"
    ]


@pytest.mark.parametrize("missing", ["REPRO_STORE", "REPRO_WORKER_PASSWORD"])
def test_what_is_not_set_is_named(fresh, missing):
    done = fresh.provision(**{missing: None})
    assert done.returncode == 2
    assert done.stderr == f"error: not set: {missing}; docker-compose.yml sets them from .env\n"


def test_a_bucket_of_somebody_else_is_told(fresh, seaweedfs):
    denied = seaweedfs.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    done = fresh.provision(**denied)
    assert done.returncode == 3
    assert "can't be made: SignatureDoesNotMatch; see AWS_ACCESS_KEY_ID" in done.stderr


def test_nobody_to_make_a_bucket_at(monkeypatch):
    from repro.stages.errors import Unreachable
    from repro.worker.store.objects.s3_connection import create_bucket

    for name, value in s3.Server("none", 1).environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreachable, match="AWS_ENDPOINT_URL"):
        create_bucket("s3://bucket/runs", patience=0)

"""Servers and folders for tests."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.errors import Unreachable
from tests import s3
from tests.needs import need


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory):
    """The URL of a real mongod, a single-node replica set; ended after the tests.

    Where none can be had, tests skip on a laptop and fail in CI.
    """
    if url := os.environ.get("REPRO_TEST_MONGO_URL"):
        yield url
        return
    home = tmp_path_factory.mktemp("mongo")
    try:
        yield embedded.ensure(home)
    except Unreachable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    finally:
        embedded.stop(home)


@pytest.fixture(scope="session")
def moto():
    server, stop = s3.start_moto()
    yield server
    stop()


@pytest.fixture(scope="session")
def ceph(tmp_path_factory):
    """A real S3 server. Where none can be had, tests skip on a laptop and fail in CI."""
    need(s3.ceph_is_here(), "radosgw")
    server, stop = s3.start_ceph(tmp_path_factory.mktemp("ceph"))
    yield server
    stop()


@pytest.fixture
def own_home(tmp_path):
    """A REPRO_HOME whose embedded server, if the test starts one, ends with the test."""
    home = tmp_path / "a home"
    yield home
    embedded.stop(home)


@pytest.fixture
def settings_environment(mongo_server, tmp_path):
    """The environment of a command that works on this test's own database, store and data."""
    base, _, query = mongo_server.partition("?")
    url = f"{base.rpartition('/')[0]}/test_{uuid.uuid4().hex[:12]}?{query}"
    paths = {name: str(tmp_path / name.lower()) for name in ("HOME", "STORE", "DATA")}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
    return found | {"PATH": binaries, "REPRO_MONGO_URL": url} | {f"REPRO_{k}": v for k, v in paths.items()}


@pytest.fixture
def database(settings_environment):
    """An empty database of this test's own, dropped after it."""
    db = connect(Settings.read(settings_environment))
    yield db
    db.client.drop_database(db.name)
    db.client.close()


@pytest.fixture
def cli(settings_environment, database):
    """Call a command in a process of its own, as a user would."""

    def call(*words, timeout=60, **environment):
        return subprocess.run(
            words, env=settings_environment | environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call

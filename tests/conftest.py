"""Servers and folders for tests."""

import os
import signal
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import pytest

from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.errors import Unreachable
from tests import s3
from tests.needs import need
from tests.shared import folder_of_the_run, shared

# The files that take longest, first: side by side, no process is to be left with one of them at the end.
LONGEST = (
    *("test_main_job", "test_verify", "test_own_stages", "test_store", "test_store_faults", "test_checkpoints"),
    *("test_golden", "test_foreign_folders", "test_fencing", "test_rules", "test_ranks", "test_checker"),
)


# A shell's background ignores it, and so would every command that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, worker_id):
    return folder_of_the_run(tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def mongo_server(run_folder):
    """The URL of a real mongod, a single-node replica set; ended after the tests.

    Where none can be had, tests skip on a laptop and fail in CI.
    """
    if url := os.environ.get("REPRO_TEST_MONGO_URL"):
        yield url
        return
    home = run_folder / "mongo"
    try:
        with shared(run_folder, "mongod", lambda: embedded.ensure(home), lambda _: embedded.stop(home)) as url:
            yield url
    except Unreachable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def seaweedfs(run_folder):
    """A real S3 server that needs no root: it comes from PyPI."""
    start = partial(s3.start_seaweedfs, run_folder / "seaweedfs")
    with shared(run_folder, "weed", start, s3.stop_seaweedfs) as port:
        yield s3.Server("seaweedfs", port)


@pytest.fixture(scope="session")
def ceph(run_folder):
    """Another one. Where none can be had, tests skip on a laptop and fail in CI."""
    need(s3.ceph_is_here(), "radosgw")
    folder = run_folder / "ceph"
    with shared(run_folder, "radosgw", partial(s3.start_ceph, folder), partial(s3.stop_ceph, folder)) as port:
        yield s3.Server("ceph", port, folder)


@pytest.fixture
def own_home(tmp_path):
    """A REPRO_HOME whose embedded server, if the test starts one, ends with the test."""
    home = tmp_path / "a home"
    yield home
    embedded.stop(home)


@pytest.fixture
def settings_environment(mongo_server, tmp_path):
    """The environment of a command that works on this test's own database, store and data."""
    return environment_in(mongo_server, tmp_path)


def environment_in(mongo_server, folder):
    """That of commands that work on a database of their own, with store and data in this folder."""
    base, _, query = mongo_server.partition("?")
    url = f"{base.rpartition('/')[0]}/test_{uuid.uuid4().hex[:12]}?{query}"
    paths = {name: str(folder / name.lower()) for name in ("HOME", "STORE", "DATA")}
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

    def call(*words, timeout=300, **environment):
        return subprocess.run(
            words, env=settings_environment | environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call

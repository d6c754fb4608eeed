"""The servers of a storm are what it needs; and what commands do when they meet an election."""

import contextlib
import signal
import threading
from datetime import UTC, datetime

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure

from repro.scheduler.server.connection import connect, server_time
from repro.scheduler.settings import Settings
from tests.chaos.servers import ReplicaSet


@pytest.fixture
def servers(tmp_path, mongo_server, wrong_clocks):
    with ReplicaSet(tmp_path / "mongo", skew=90) as found:
        yield found


def test_a_command_that_starts_during_an_election_waits_for_its_end(servers):
    primary = servers.primary()
    others = [member.process for member in servers.members if member is not primary]
    for process in others:
        process.send_signal(signal.SIGSTOP)
    with primary.client() as client, contextlib.suppress(AutoReconnect, OperationFailure):
        client.admin.command("replSetStepDown", 1, force=True)
    thaw = threading.Timer(5, lambda: [process.send_signal(signal.SIGCONT) for process in others])
    thaw.start()
    db = connect(Settings.read({"REPRO_MONGO_URL": servers.url}))
    thaw.join()
    assert db.client.is_primary
    db.client.close()


def test_a_primary_with_a_wrong_clock_is_the_queues_clock_and_its_replies_can_be_lost(servers):
    skewed = servers.members[-1]
    servers.step_up(skewed)
    db = connect(Settings.read({"REPRO_MONGO_URL": servers.url}))
    with db.client:
        assert 60 < (server_time(db) - datetime.now(UTC)).total_seconds() < 120
        skewed.proxy.next("drop reply", method="insert")
        db.things.insert_one({"_id": 1})  # the driver asks again, and the server knows that it is the same write
        assert skewed.proxy.struck == [("drop reply", "insert", "things")]
        with MongoClient(servers.url) as other:
            assert other.repro.things.count_documents({}) == 1

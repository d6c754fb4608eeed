"""Each fault of the MongoDB face, before a real mongod."""

import threading
import time

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from tests.chaos.mongo_proxy import MongoFaults


@pytest.fixture
def proxy(database):
    with MongoFaults(database.client.address[1]) as found:
        yield found


@pytest.fixture
def client_of(proxy):
    clients = []

    def connect(name):
        client = MongoClient(
            "127.0.0.1", proxy.port, directConnection=True, appname=name, retryWrites=False, retryReads=False
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def things(database, client_of):
    """A collection as a victim reaches it."""
    return client_of("repro")[database.name].things


def test_without_a_fault_all_passes(things, database):
    things.insert_many([{"_id": n, "text": "x" * 10_000} for n in range(500)])
    assert [d["_id"] for d in things.find().batch_size(7)] == list(range(500))
    with things.watch(max_await_time_ms=100) as news:
        database.things.insert_one({"_id": "new"})
        assert news.next()["documentKey"] == {"_id": "new"}


def test_a_dropped_reply_comes_after_the_server_has_applied_the_command(things, database, proxy):
    proxy.next("drop reply", method="insert")
    with pytest.raises(AutoReconnect):
        things.insert_one({"_id": 1})
    assert database.things.count_documents({}) == 1
    things.insert_one({"_id": 2})
    assert proxy.struck == [("drop reply", "insert", "things")]


def test_a_rule_may_ask_for_what_is_in_the_command(things, database, proxy):
    proxy.next("drop request", contains="needle")
    things.insert_one({"_id": "hay"})
    with pytest.raises(AutoReconnect):
        things.insert_one({"_id": "needle"})
    assert [d["_id"] for d in database.things.find()] == ["hay"]


@pytest.mark.parametrize("fault", ["stall", "stall reply"])
def test_a_stall_is_only_that(things, database, proxy, fault):
    things.insert_one({"_id": 0})
    proxy.next(fault, method="insert", seconds=3)
    began = time.monotonic()
    thread = threading.Thread(target=things.insert_one, args=[{"_id": 1}])
    thread.start()
    while not proxy.struck:
        time.sleep(0.01)
    if fault == "stall reply":
        while database.things.count_documents({}) != 2:
            time.sleep(0.01)
        assert thread.is_alive()
    thread.join()
    assert time.monotonic() - began >= 3
    assert database.things.count_documents({}) == 2


def test_who_is_no_victim_is_struck_by_nothing(database, client_of, proxy):
    other = client_of("another")[database.name].things
    proxy.next("drop request", times=100)
    proxy.refusing = True
    proxy.freeze(600)
    proxy.cut()
    other.insert_one({"_id": 1})
    assert proxy.struck == []


def test_connections_are_cut_and_come_again(things, proxy):
    with things.watch(max_await_time_ms=60_000) as news:
        threading.Timer(0.2, proxy.cut).start()
        threading.Timer(0.5, lambda: things.insert_one({"_id": 1})).start()
        assert news.next()["documentKey"] == {"_id": 1}  # the driver resumes its stream on a new connection


def test_while_it_refuses_no_victim_gets_through(things, database, proxy):
    things.insert_one({"_id": 1})
    proxy.refusing = True
    with pytest.raises(AutoReconnect):
        things.insert_one({"_id": 2})
    proxy.forget()
    things.insert_one({"_id": 3})
    assert database.things.count_documents({}) == 2


def test_a_frozen_line_passes_everything_later(things, proxy):
    things.insert_one({"_id": 1})
    proxy.freeze(1)
    began = time.monotonic()
    things.insert_one({"_id": 2})
    assert time.monotonic() - began >= 0.9

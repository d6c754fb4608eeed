"""Who is alive, and how many."""

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

from repro.scheduler.queue import workers
from repro.scheduler.server.connection import server_time


def test_the_size_counts_those_who_have_not_left(database):
    workers.create_indexes(database)
    for name in ("a", "b", "a"):
        assert not workers.announce(database, name, ["GPU-a"], 1)
    assert workers.size(database) == 2
    workers.depart(database, "a")
    assert workers.size(database) == 1


def test_a_worker_that_is_silent_for_its_lease_is_the_servers_to_forget(database):
    """Its sweeps come once a minute, and are not waited for."""
    workers.create_indexes(database)
    before = server_time(database)
    workers.announce(database, "a", [], 1, lease=300)
    index = database.workers.index_information()["gone"]
    assert (list(index["key"]), index["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
    assert 299 < (database.workers.find_one({"_id": "a"})["expires_at"] - before).total_seconds() < 400


def test_no_two_live_workers_have_one_name(database):
    """As in containers that have their host's name, in each of which the worker is process 1."""
    here = workers.name_here()
    assert [workers.take_name(database) for _ in range(3)] == [here, f"{here}.2", f"{here}.3"]
    workers.announce(database, f"{here}.2", ["GPU-a"], 1)
    assert not workers.is_gone(database.workers.find_one({"_id": f"{here}.2"}))
    workers.depart(database, here)
    assert workers.take_name(database) == here
    database.workers.update_one({"_id": f"{here}.3"}, [{"$set": {"expires_at": {"$subtract": ["$$NOW", 1]}}}])
    assert workers.take_name(database) == f"{here}.3"


def test_many_at_once_take_a_name_each(database):
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(lambda _: workers.take_name(database), range(8)))
    assert len(set(names)) == 8


def test_a_name_of_a_process_that_is_gone_is_free_at_once(database, monkeypatch):
    dead = subprocess.Popen(["true"])
    dead.wait()
    monkeypatch.setattr(workers, "name_here", lambda: f"{socket.gethostname()}:{dead.pid}")
    assert workers.take_name(database) == workers.take_name(database)


def test_who_is_gone_is_known_of_the_processes_that_can_be_seen_from_here(database):
    """An id of another machine, or of another container, says nothing."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = socket.gethostname()
    workers.announce(database, f"{host}:{dead.pid}", ["GPU-a"], 1)
    workers.announce(database, workers.name_here(), ["GPU-a"], 1)
    assert workers.sharing(database) == {}
    database.workers.update_one({"_id": f"{host}:{dead.pid}"}, {"$set": {"among": "pid:[1]"}})
    assert workers.sharing(database) == {"GPU-a": sorted([f"{host}:{dead.pid}", workers.name_here()])}
    workers.announce(database, f"another-{host}:{dead.pid}", ["GPU-b"], 1)
    workers.announce(database, f"{host}:{os.getppid()}", ["GPU-b"], 1)
    assert workers.sharing(database, ["GPU-b"]) == {
        "GPU-b": sorted([f"another-{host}:{dead.pid}", f"{host}:{os.getppid()}"])
    }

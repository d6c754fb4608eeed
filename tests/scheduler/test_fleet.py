"""Who is alive, and how many."""

from scheduler import fleet
from scheduler.mongo import server_time


def test_the_size_counts_those_who_have_not_left(database):
    fleet.create_indexes(database)
    for name in ("a", "b", "a"):
        assert not fleet.announce(database, name, ["GPU-a"], 1)
    assert fleet.size(database) == 2
    fleet.depart(database, "a")
    assert fleet.size(database) == 1


def test_a_worker_that_is_silent_for_its_lease_is_the_servers_to_forget(database):
    """Its sweeps come once a minute, and are not waited for."""
    fleet.create_indexes(database)
    before = server_time(database)
    fleet.announce(database, "a", [], 1, lease=300)
    index = database.workers.index_information()["gone"]
    assert (list(index["key"]), index["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
    assert 299 < (database.workers.find_one({"_id": "a"})["expires_at"] - before).total_seconds() < 400

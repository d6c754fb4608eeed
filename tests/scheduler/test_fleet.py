"""Who is alive, and how many."""

import time

import pytest

from scheduler import fleet


@pytest.fixture
def quick_sweep(database):
    """The server looks for what has expired every second, not every minute."""
    admin = database.client.admin
    before = admin.command("getParameter", ttlMonitorSleepSecs=1)["ttlMonitorSleepSecs"]
    admin.command("setParameter", ttlMonitorSleepSecs=1)
    yield
    admin.command("setParameter", ttlMonitorSleepSecs=before)


def test_a_silent_worker_is_forgotten_and_one_that_goes_on_is_not(database, quick_sweep):
    fleet.create_indexes(database)
    assert not fleet.announce(database, "dead", ["GPU-a"], 1, lease=1)
    fleet.announce(database, "alive", [], 1, lease=3600)
    assert fleet.size(database) == 2
    deadline = time.monotonic() + 90
    while database.workers.distinct("_id") != ["alive"]:  # a majority read may come later than the count
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert fleet.size(database) == 1
    fleet.depart(database, "alive")
    assert fleet.size(database) == 0

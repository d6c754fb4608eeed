"""However many workers there are, all together ask about as much of the server."""

import pytest

from repro.worker import polling
from repro.worker.polling import Pace


def of(workers):
    found = Pace()
    found.workers = workers
    return found


@pytest.mark.parametrize("workers", [1, 10, 100, 1000, 5000, 50000])
def test_a_fleet_polls_heals_tells_and_listens_no_more_than_a_hundred_do(workers):
    # Jitter is at most half of an interval.
    assert workers / of(workers).poll() <= 2 * max(polling.POLLS, min(workers, 50) / polling.POLL)
    assert workers / of(workers).heal() <= 2 * polling.HEALS
    assert workers / of(workers).tell() <= max(polling.TELLS, 100 / polling.TELL)
    listeners = sum(of(workers).listens for _ in range(workers))
    assert listeners == workers if workers <= polling.LISTENERS else 0 < listeners < 5 * polling.LISTENERS


def test_a_small_fleet_looks_often():
    assert of(3).poll() <= 1.5 * polling.POLL
    assert of(3).heal() <= 1.5 * polling.HEAL
    assert of(1).spread() <= polling.SPREAD


def test_a_worker_draws_only_where_it_meets_others(monkeypatch):
    monkeypatch.setattr(polling, "OFTEN", 3600)
    alone, one_of_many = of(1), of(50)
    assert one_of_many.draw() is None
    for found in (alone, one_of_many):
        found.claimed({"priority": 7})
    assert alone.draw() is None
    assert one_of_many.draw() == (7, polling.AMONG)
    monkeypatch.setattr(polling, "OFTEN", 0)
    assert one_of_many.draw() is None

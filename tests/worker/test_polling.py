"""However many workers there are, all together ask about as much of the server."""

import pytest

from repro.worker import polling
from repro.worker.polling import PollingRates


def of(workers):
    rates = PollingRates()
    rates.workers = workers
    return rates


@pytest.mark.parametrize("workers", [1, 10, 100, 1000, 5000, 50000])
def test_however_many_workers_ask_no_more_than_a_hundred_do(workers):
    # Jitter is at most half of an interval.
    assert workers / of(workers).claim_interval() <= 2 * max(
        polling.CLAIMS_A_SECOND, min(workers, 50) / polling.CLAIM_INTERVAL
    )
    assert workers / of(workers).healing_interval() <= 2 * polling.HEALINGS_A_SECOND
    assert workers / of(workers).report_interval() <= max(polling.REPORTS_A_SECOND, 100 / polling.REPORT_INTERVAL)
    listeners = sum(of(workers).follows_news for _ in range(workers))
    assert listeners == workers if workers <= polling.LISTENERS else 0 < listeners < 5 * polling.LISTENERS


def test_few_workers_ask_often():
    assert of(3).claim_interval() <= 1.5 * polling.CLAIM_INTERVAL
    assert of(3).healing_interval() <= 1.5 * polling.HEALING_INTERVAL
    assert of(1).wakeup_delay() <= polling.WAKEUP_SPREAD


def test_a_worker_spreads_its_claims_only_where_it_meets_others(monkeypatch):
    monkeypatch.setattr(polling, "FREQUENT", 3600)
    alone, one_of_many = of(1), of(50)
    assert one_of_many.claim_spread() is None
    for rates in (alone, one_of_many):
        rates.record_claim({"priority": 7})
    assert alone.claim_spread() is None
    assert one_of_many.claim_spread() == (7, polling.SPREAD_OVER)
    monkeypatch.setattr(polling, "FREQUENT", 0)
    assert one_of_many.claim_spread() is None

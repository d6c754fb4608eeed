"""The queue's figures as Prometheus knows them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from repro.scheduler.lists.gauges import Figures
    from repro.scheduler.server.connection import Queue

KEPT = 10.0  # seconds for which an answer is given again, however many ask


class QueueCollector:
    """Asks the queue when Prometheus asks, at most every few seconds."""

    def __init__(self, db: "Queue") -> None:
        import threading

        self._db = db
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._last: Figures | None = None

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        return iter(list(families(self._figures())))

    def _figures(self) -> "Figures":
        import time

        from repro.scheduler.lists.gauges import figures
        from repro.scheduler.server.connection import reachable

        with self._lock:
            if self._last is None or time.monotonic() - self._asked_at > KEPT:
                with reachable():
                    self._last = figures(self._db)
                self._asked_at = time.monotonic()
            return self._last


def families(figures: "Figures") -> "Iterator[GaugeMetricFamily]":
    """The figures as Prometheus knows them."""
    from prometheus_client.core import GaugeMetricFamily as Gauge

    states = Gauge("repro_queue_runs", "Runs by state.", labels=["state"])
    for state, count in figures.states.items():
        states.add_metric([state], count)
    yield states
    pending = Gauge("repro_queue_pending", "Pending runs that are not held.", labels=["stage", "gpus", "needs"])
    for (stage, gpus, needs), count in sorted(figures.pending.items()):
        pending.add_metric([stage, str(gpus), needs], count)
    yield pending
    since = "Since the oldest of those was submitted."
    oldest = Gauge("repro_queue_oldest_pending_seconds", since, labels=["gpus", "needs"])
    for (gpus, needs), seconds in sorted(figures.oldest.items()):
        oldest.add_metric([str(gpus), needs], seconds)
    yield oldest
    failures = Gauge("repro_queue_recent_failures", "Runs failed for good in the last hour.", labels=["cause"])
    for cause, count in sorted(figures.failures.items()):
        failures.add_metric([cause], count)
    yield failures
    yield Gauge("repro_queue_workers", "Workers that are alive.", value=figures.workers)
    yield Gauge("repro_queue_cards", "Cards that they have.", value=figures.cards)
    yield Gauge("repro_queue_places", "Runs without a card that they could execute at once.", value=figures.places)

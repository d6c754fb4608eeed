"""What one worker tells Prometheus, and how it is asked: /metrics, and /healthz for whoever restarts dead workers.

Counters begin at zero with each worker and end with it; what must outlast it stands in the queue (`repro metrics`).
Needs the extra `metrics`.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, make_wsgi_app
from prometheus_client.registry import Collector

from repro.stages.errors import ReproError, Unreachable
from repro.worker.attempt.executor import Attempt, Done, Failed, Faulted, Outcome
from repro.worker.live.console import Report
from repro.worker.slots import Slots
from repro.worker.store.store import Output, Store

RUN_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 48 * 3600)
TRANSFER_SECONDS = (0.01, 0.05, 0.2, 1, 5, 15, 60, 300, 900)
UNAVAILABLE = "503 Service Unavailable"
STUCK = 300.0  # seconds without a turn of the worker's loop, after which it does not count as well

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which says when it began; nobody asks


class Figures:
    """The figures of one worker."""

    def __init__(self, slots: Slots) -> None:
        self.registry = CollectorRegistry()
        self.claims = Counter("repro_claims", "Runs claimed.", ["stage", "gpus"], registry=self.registry)
        self.ended = Counter(
            "repro_attempts_ended", "Attempts by what came of them.", ["stage", "outcome"], registry=self.registry
        )
        self.failures = Counter(
            "repro_failures", "Attempts that failed, by the error's type.", ["stage", "cause"], registry=self.registry
        )
        self.expiries = Counter(
            "repro_lease_expiries", "Leases of silent workers that this worker found expired.", registry=self.registry
        )
        self.running = Gauge("repro_worker_running", "Runs that this worker executes.", registry=self.registry)
        self.places = Gauge("repro_worker_places", "Runs it could execute at once.", ["kind"], registry=self.registry)
        self.run_seconds = Histogram(
            "repro_run_seconds", "Length of attempts.", ["stage"], buckets=RUN_SECONDS, registry=self.registry
        )
        self.transfer_seconds = Histogram(
            "repro_transfer_seconds",
            "Time to have a run's inputs here (pull), or its outputs in the store (push).",
            ["direction"],
            buckets=TRANSFER_SECONDS,
            registry=self.registry,
        )
        self.places.labels("card").set(slots.size - slots.all_cpus)
        self.places.labels("cpu").set(slots.all_cpus)


class Counting:
    """A report that counts what it passes on."""

    def __init__(self, report: Report, figures: Figures) -> None:
        self._report, self._figures = report, figures

    def say(self, text: str) -> None:
        self._report.say(text)

    def started(self, attempt: Attempt) -> None:
        self._figures.claims.labels(attempt.run["stage"], attempt.run["gpus"]).inc()
        self._figures.running.inc()
        self._report.started(attempt)

    def tick(self, attempts: list[Attempt]) -> None:
        self._report.tick(attempts)

    def ended(self, attempt: Attempt, outcome: Outcome, seconds: float) -> None:
        stage = attempt.run["stage"]
        self._figures.running.dec()
        self._figures.ended.labels(stage, type(outcome).__name__.lower()).inc()
        if isinstance(outcome, Failed | Faulted):
            self._figures.failures.labels(stage, outcome.error["type"]).inc()
        if isinstance(outcome, Done):
            self._figures.run_seconds.labels(stage).observe(seconds)
        self._report.ended(attempt, outcome, seconds)

    def expired(self, count: int) -> None:
        self._figures.expiries.inc(count)
        self._report.expired(count)

    def close(self) -> None:
        self._report.close()


class TimedStore(Store):
    """A store whose transfers are timed."""

    def __init__(self, store: Store, figures: Figures) -> None:
        super().__init__(store.objects, store.cache, store.seen)
        self._seconds = figures.transfer_seconds

    def push(self, location: str, folder: Path, names: Iterable[str]) -> list[Output]:
        with self._seconds.labels("push").time():
            return super().push(location, folder, names)

    def pull(self, outputs: Sequence[Output], location: str, folder: Path) -> None:
        with self._seconds.labels("pull").time():
            super().pull(outputs, location, folder)


class Pulse:
    """When the worker's loop last turned."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def beat(self) -> None:
        self._at = time.monotonic()

    def is_there(self) -> bool:
        return time.monotonic() - self._at < STUCK


def observe(port: int, slots: Slots, report: Report, store: Store) -> tuple[Report, Store, Callable[[], None]]:
    """Serve a worker's figures. Returns what it is to use in place of its report and its store, and what its loop is to
    call at each turn.

    Raises:
        Unreachable: the port can't be had.
    """
    figures, pulse = Figures(slots), Pulse()
    serve(port, figures.registry, pulse.is_there)
    return Counting(report, figures), TimedStore(store, figures), pulse.beat


def serve(port: int, registry: Collector, healthy: Callable[[], bool] = lambda: True) -> int:
    """Answer at a port of every interface, from a thread that ends with the process; returns it, for 0 a free one.

    Raises:
        Unreachable: the port can't be had.
    """
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            try:
                found: Iterable[bytes] = metrics(environ, start_response)
            except ReproError as error:
                return _plain(start_response, UNAVAILABLE, f"{error}")
            return found
        if healthy():
            return _plain(start_response, "200 OK", "ok")
        return _plain(start_response, UNAVAILABLE, "the worker's loop does not turn")

    try:
        server = make_server("", port, answer, server_class=_Server, handler_class=_Silent)
    except OSError as error:
        raise Unreachable(f"port {port} for metrics can't be had: {error.strerror}; choose another") from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def _plain(start_response: Callable[..., Any], status: str, text: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A worker's log is for its runs."""

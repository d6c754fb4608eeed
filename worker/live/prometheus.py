"""What one worker exports to Prometheus, and how it is asked: /metrics, and /healthz for whoever restarts dead workers.

Counters begin at zero with each worker and end with it; what must outlive it stands in the queue (`repro metrics`).
Needs the extra `metrics`.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, make_wsgi_app
from prometheus_client.registry import Collector

from repro.stages.errors import ReproError, Unreachable
from repro.worker.live.console import Console
from repro.worker.slots import Slots
from repro.worker.store.store import Output, Store

if TYPE_CHECKING:
    from repro.worker.attempt.attempt import Attempt
    from repro.worker.attempt.outcome import Outcome

RUN_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 48 * 3600)
TRANSFER_SECONDS = (0.01, 0.05, 0.2, 1, 5, 15, 60, 300, 900)
UNAVAILABLE = "503 Service Unavailable"
STUCK = 300.0  # seconds without a turn of the worker's loop, after which it does not count as well

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which says when it began; nobody asks


class WorkerMetrics:
    """The metrics of one worker."""

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


class CountingConsole:
    """A console that counts what it passes on to another one."""

    def __init__(self, console: Console, metrics: WorkerMetrics) -> None:
        self._console, self._metrics = console, metrics

    def say(self, text: str) -> None:
        self._console.say(text)

    def started(self, attempt: "Attempt") -> None:
        self._metrics.claims.labels(attempt.run["stage"], attempt.run["gpus"]).inc()
        self._metrics.running.inc()
        self._console.started(attempt)

    def tick(self, attempts: "list[Attempt]") -> None:
        self._console.tick(attempts)

    def ended(self, attempt: "Attempt", outcome: "Outcome", seconds: float) -> None:
        stage = attempt.run["stage"]
        self._metrics.running.dec()
        self._metrics.ended.labels(stage, outcome.label).inc()
        if outcome.error:
            self._metrics.failures.labels(stage, outcome.error["type"]).inc()
        if outcome.label == "done":
            self._metrics.run_seconds.labels(stage).observe(seconds)
        self._console.ended(attempt, outcome, seconds)

    def expired(self, count: int) -> None:
        self._metrics.expiries.inc(count)
        self._console.expired(count)

    def close(self) -> None:
        self._console.close()


class TimedStore(Store):
    """A store whose transfers are timed."""

    def __init__(self, store: Store, metrics: WorkerMetrics) -> None:
        super().__init__(store.objects, store.cache, store.verified_files)
        self._seconds = metrics.transfer_seconds

    def push(self, location: str, folder: Path, names: Iterable[str]) -> list[Output]:
        with self._seconds.labels("push").time():
            return super().push(location, folder, names)

    def pull(self, outputs: Sequence[Output], location: str, folder: Path) -> None:
        with self._seconds.labels("pull").time():
            super().pull(outputs, location, folder)


class Liveness:
    """When the worker's loop last turned."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def beat(self) -> None:
        self._at = time.monotonic()

    def is_alive(self) -> bool:
        return time.monotonic() - self._at < STUCK


def observe(port: int, slots: Slots, console: Console, store: Store) -> tuple[Console, Store, Callable[[], None]]:
    """Serve a worker's metrics. Returns what it is to use in place of its console and its store, and what its loop is
    to call at each turn.

    Raises:
        Unreachable: the port can't be had.
    """
    metrics, liveness = WorkerMetrics(slots), Liveness()
    serve(port, metrics.registry, liveness.is_alive)
    return CountingConsole(console, metrics), TimedStore(store, metrics), liveness.beat


def serve(port: int, registry: Collector, healthy: Callable[[], bool] = lambda: True) -> int:
    """Answer at a port of every interface, from a thread that ends with the process; returns it, for 0 a free one.

    Raises:
        Unreachable: the port can't be had.
    """
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            try:
                body: Iterable[bytes] = metrics(environ, start_response)
            except ReproError as error:
                return _plain(start_response, UNAVAILABLE, f"{error}")
            return body
        if healthy():
            return _plain(start_response, "200 OK", "ok")
        return _plain(start_response, UNAVAILABLE, "the worker's loop does not turn")

    try:
        server = make_server("", port, answer, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise Unreachable(f"port {port} for metrics can't be had: {error.strerror}; choose another") from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def _plain(start_response: Callable[..., Any], status: str, text: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests leave no line: a worker's log is for its runs."""

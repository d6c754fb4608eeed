"""What a worker exports to Prometheus, after real runs, and the dashboard that shows it."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse

from repro.scheduler import runs
from repro.scheduler.lists.gauges import Figures
from repro.scheduler.queue import workers
from repro.stages import config as configs
from repro.stages.errors import Unreachable
from repro.views.queue_metrics import QueueCollector, families
from repro.worker.live import prometheus
from tests import toy
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"


def submit(db, name, stage="toy_noop", waiting_for=(), **options):
    config = {"stage": stage} | ({"source": list(waiting_for)} if waiting_for else {})
    known = {run["_id"]: run["fingerprint"] for run in db.runs.find()}
    digest = configs.fingerprint(config, {source: known[source] for source in waiting_for})
    runs.submit(db, [runs.document(name, config, digest, list(waiting_for), list(waiting_for), **options)])


def samples(text):
    """(name, labels) -> value."""
    return {(s.name, *sorted(s.labels.items())): s.value for family in parse(text) for s in family.samples}


def get(port, path="/metrics"):
    return urlopen(f"http://127.0.0.1:{port}{path}", timeout=100).read().decode()


@pytest.fixture
def worker(settings_environment, database, tmp_path):
    """A worker with a port, and a way to wait until its figures are as they should be."""
    toy.install(tmp_path / "toy")
    port = free_port()
    environment = settings_environment | {"PYTHONPATH": str(tmp_path / "toy"), "REPRO_METRICS_PORT": str(port)}
    words = ["repro-worker", "--gpus", "none", "--lease", "5"]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)

    def until(condition):
        deadline = time.monotonic() + 300
        while True:
            try:
                latest = samples(get(port))
                if condition(latest):
                    return latest
            except OSError:
                latest = None
            assert time.monotonic() < deadline, latest
            time.sleep(0.1)

    until.port = port
    yield until
    process.kill()
    process.wait()


def test_a_worker_counts_what_it_does(worker, database):
    submit(database, "lost")
    workers.announce(database, "dead", [], 1)
    assert runs.claim(database, "dead", [0], lease=0.05)
    submit(database, "good")
    submit(database, "reads", waiting_for=["good"])
    submit(database, "bad", "toy_raises")
    noop = ("stage", "toy_noop")
    ended = ("repro_attempts_ended_total", ("outcome", "done"), noop)
    failed = ("repro_failures_total", ("cause", "ValueError"), ("stage", "toy_raises"))
    counted = worker(lambda latest: latest.get(ended) == 3 and failed in latest)
    assert counted["repro_claims_total", ("gpus", "0"), noop] == 3
    assert counted["repro_attempts_ended_total", ("outcome", "failed"), ("stage", "toy_raises")] == 1
    assert counted["repro_lease_expiries_total",] == 1
    assert counted["repro_run_seconds_count", noop] == 3
    assert counted["repro_run_seconds_sum", noop] > 0
    assert counted["repro_transfer_seconds_count", ("direction", "pull")] == 1
    assert counted["repro_transfer_seconds_count", ("direction", "push")] >= 3
    assert counted["repro_worker_running",] == 0
    assert counted["repro_worker_places", ("kind", "cpu")] == 1
    assert get(worker.port, "/healthz") == "ok\n"


def test_a_loop_that_does_not_turn_is_not_well():
    liveness, registry = prometheus.Liveness(), CollectorRegistry()
    port = prometheus.serve(0, registry, liveness.is_alive)
    assert get(port, "/healthz") == "ok\n"
    liveness._at -= prometheus.STUCK
    with pytest.raises(HTTPError, match="503"):
        get(port, "/healthz")
    liveness.beat()
    assert get(port, "/healthz") == "ok\n"


def test_who_asks_while_the_queue_is_away_is_answered_503():
    class Away:
        def collect(self):
            raise Unreachable("MongoDB can't be reached")

    port = prometheus.serve(0, Away())
    with pytest.raises(HTTPError, match="503") as refused:
        get(port)
    assert refused.value.read() == b"MongoDB can't be reached\n"
    assert get(port, "/healthz") == "ok\n"


def test_a_port_that_is_taken_is_one_line(cli, database):
    port = prometheus.serve(0, CollectorRegistry())
    done = cli("repro-worker", "--burst", "--metrics-port", str(port))
    assert done.returncode == 3
    assert done.stderr.strip().splitlines() == [
        f"error: port {port} for metrics can't be had: Address already in use; choose another"
    ]


def exported():
    """Every name that workers and `repro metrics` may export."""
    from repro.worker.slots import Slots

    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    collected = prometheus.WorkerMetrics(Slots([], 1)).registry.collect()
    names = {family.name + suffix for family in collected for suffix in suffixes[family.type]}
    figures = Figures({"running": 1}, {("train", 1, ""): 1}, {(1, ""): 2.0}, {"ValueError": 1}, 1, 1, 1)
    return names | {family.name for family in families(figures)}


def test_the_dashboard_shows_what_is_exported_and_nothing_else():
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    named = set(re.findall(r"\brepro_\w+", " ".join(expressions)))
    assert named <= exported()
    families_of = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    missing = {name for name in exported() if re.sub("_(bucket|sum|count)$", "", name) not in families_of}
    assert missing == {"repro_queue_places"}
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_alarms_go_by_what_is_exported():
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "annotations"}
        named = set(re.findall(r"\brepro_\w+", rule["expr"]))
        assert named
        assert named <= exported()


def test_an_answer_is_given_again_for_a_while(database):
    collector = QueueCollector(database)
    before = list(collector.collect())
    submit(database, "a")
    assert [f.samples for f in collector.collect()] == [f.samples for f in before]
    collector._asked_at -= 60
    assert [f.samples for f in collector.collect()] != [f.samples for f in before]


def test_the_queues_figures_are_printed_once(cli, database):
    submit(database, "a")
    submit(database, "b", "toy_write")
    done = cli("repro", "metrics")
    assert done.returncode == 0, done.stderr
    printed = samples(done.stdout)
    assert printed["repro_queue_runs", ("state", "pending")] == 2
    assert printed["repro_queue_pending", ("gpus", "0"), ("needs", ""), ("stage", "toy_write")] == 1


def test_the_queues_figures_are_served_until_stopped(settings_environment, database):
    port = free_port()
    process = subprocess.Popen(
        ["repro", "metrics", "--port", str(port)], env=settings_environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert f":{port}/metrics" in process.stderr.readline()
        assert samples(get(port))["repro_queue_workers",] == 0
    finally:
        process.terminate()
        process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.mark.parametrize("words", [["metrics"], ["worker", "--burst", "--metrics-port", "1"]])
def test_without_the_package_it_is_named(cli, database, words):
    code = f"import sys; sys.modules['prometheus_client'] = None; from repro.cli import main; main({words!r})"
    done = cli(sys.executable, "-c", code)
    assert done.returncode == 2
    assert done.stderr == 'error: metrics need prometheus-client: pip install "repro-queue[metrics]"\n'

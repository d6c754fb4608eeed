"""While a run runs: its log from any machine, and the inputs of the next one."""

import json
import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from repro.readers.log_reader import Follower
from repro.scheduler.live import log_pieces, points
from repro.scheduler.live.log_pieces import Piece
from repro.scheduler.queue import lookup
from repro.stages.errors import StageError
from repro.worker.live.curve_sampler import CurveSampler
from repro.worker.live.log_cursor import MOST, PIECE, LogCursor
from repro.worker.prefetch import Prefetcher
from tests.worker.test_worker import wait_for


def text_of(bench, name, follow=False, lines=None):
    return "".join(Follower(bench.db, lambda: bench.store, lines).texts(lookup.run(bench.db, name), follow))


def sleeps(bench, name, text):
    bench.submit(name, "sleeps", started=str(bench.folder / f"{name}-started"), text=text, options={"max_attempts": 1})


def beside(bench, watch, **options):
    """`watch` in a thread of its own while a worker works in this one, which signals need."""
    with ThreadPoolExecutor(1) as thread:
        watched = thread.submit(watch)
        bench.worker(**options).run()
        return watched.result()


def kill_stage(bench, name):
    os.kill(json.loads((bench.folder / f"{name}-started.ready").read_text())["pid"], signal.SIGKILL)


def test_the_log_of_a_running_run_is_sent_and_followed_to_its_end(bench):
    sleeps(bench, "a", "hello from the stage")

    def watch():
        try:
            wait_for(lambda: bench.db.logs.count_documents({}))
            assert text_of(bench, "a") == "hello from the stage\n"
            follower = Follower(bench.db, lambda: bench.store, None).texts(lookup.run(bench.db, "a"), follow=True)
            assert next(follower) == "hello from the stage\n"
        finally:
            kill_stage(bench, "a")
        return "".join(follower)

    assert beside(bench, watch, lease=1, max_runs=1) == ""  # not a byte twice
    assert bench.get("a")["state"] == "failed"
    assert text_of(bench, "a", lines=1) == "hello from the stage\n"


def test_the_figures_of_a_running_run_are_sent_once_each(bench):
    sleeps(bench, "a", "x")

    def watch():
        try:
            wait_for(lambda: bench.db.metrics.count_documents({}))
            wait_for(lambda: bench.db.logs.count_documents({}))
            return list(points.points(bench.db, lookup.run(bench.db, "a")["lease"]["token"]))
        finally:
            kill_stage(bench, "a")

    assert beside(bench, watch, lease=1, max_runs=1) == [points.Point(1, 2, {"loss": 0.5})]


def test_the_figures_of_a_long_run_are_sent_ever_less_often():
    sampler, points_sent = CurveSampler(), 0
    for second in range(30 * 86400 // 10):  # a month, in a tenth of its steps
        if point := sampler.next({"step": second, "total": 10**9, "metrics": {"loss": 0.5}}, second * 10.0):
            sampler.sent(point, second * 10.0)
            points_sent += 1
    assert 1000 < points_sent < 8000


def test_a_figure_that_is_not_finite_is_sent_whenever_it_comes():
    sampler, sent = CurveSampler(), []
    for step in range(100):
        told = {"step": step, "total": 100, "metrics": {"loss": math.nan if step in (41, 42) else 0.5}}
        sampler.notice(told)
        while point := sampler.next(told, step / 10):
            sampler.sent(point, step / 10)
            sent.append(point)
    assert len(sent) < 12
    assert [point.step for point in sent if math.isnan(point.values["loss"])] == [41]
    assert len({point.step for point in sent}) == len(sent)


def test_the_log_of_an_ended_run_comes_from_its_folder(bench):
    bench.run("a", "write", text="x")
    assert text_of(bench, "a") == "said x\n"
    bench.run("b", "raises")
    assert text_of(bench, "b").startswith("before the end\n")
    assert "ValueError: boom" in text_of(bench, "b", follow=True, lines=1)


def test_each_attempt_has_a_log_of_its_own(bench):
    bench.run("a", "dies", options={"max_attempts": 2})
    bench.db.runs.update_one({"_id": "a"}, {"$set": {"not_before": None}})  # its second attempt need not wait
    bench.work()
    run = bench.get("a")
    assert (run["state"], run["attempts"]) == ("failed", 2)
    follower = Follower(bench.db, lambda: bench.store, None)
    tokens = [entry["token"] for entry in run["history"] if entry["to"] == "running"]
    for number, token in enumerate(tokens, 1):
        path = bench.folder / "store" / f"a-{token[:8]}" / "repro-log.txt"
        path.chmod(0o644)
        path.write_text(f"attempt {number}\n")
    assert [follower.attempt(run, number) for number in (1, 2)] == ["attempt 1\n", "attempt 2\n"]
    with pytest.raises(StageError, match="a has no attempt 3; there were 2"):
        follower.attempt(run, 3)


@pytest.mark.parametrize(("state", "message"), [("pending", "has no log yet; -f waits"), ("cancelled", "never ran")])
def test_that_there_is_no_log_is_said_in_a_line(cli, bench, state, message):
    bench.submit("a", "write")
    if state == "cancelled":
        cli("repro", "cancel", "a")
    done = cli("repro", "logs", "a")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert cli("repro", "logs", "nobody").returncode == 2


def test_a_log_that_grows_faster_than_it_is_sent_leaves_a_gap_that_is_shown(bench, tmp_path):
    log = tmp_path / "repro-log.txt"
    cursor = LogCursor(log)
    assert cursor.next() is None
    log.write_bytes(b"a" * 10)
    cursor.sent(cursor.next())
    log.write_bytes(b"a" * 10 + b"b" * 1000 + b"c" * PIECE)
    piece = cursor.next()
    assert (piece.offset, piece.data) == (1010, b"c" * PIECE)
    assert cursor.next() == piece  # until it has been sent
    cursor.sent(piece)
    assert cursor.next() is None
    cursor.amount = MOST
    log.write_bytes(b"d" * 10**6)
    assert cursor.next() is None

    bench.submit("a", "write")
    (run,) = [bench.get("a") | {"state": "running", "lease": {"token": "t"}}]
    for piece in (Piece(0, b"a" * 10), Piece(1010, b"c")):
        log_pieces.append(bench.db, "t", piece)
    text = "".join(Follower(bench.db, lambda: bench.store, None).texts(run, follow=False))
    assert text == "a" * 10 + "\n--- 1000 bytes left out ---\nc"


def test_the_inputs_of_the_next_run_are_pulled_while_another_computes(remote):
    bench = remote
    bench.run("source", "write", text="input")
    digest = bench.get("source")["outputs"][0]["sha256"]
    assert not bench.store.cache.has(digest)  # it was written here, not read
    sleeps(bench, "busy", "")
    bench.submit("next", "write", source=["source"], waiting_for=[], options={"priority": -1})

    def watch():
        try:
            wait_for(lambda: bench.store.cache.has(digest))
            return bench.get("next")["state"]
        finally:
            kill_stage(bench, "busy")

    assert beside(bench, watch, lease=5, max_runs=2) == "pending"
    assert bench.get("next")["state"] == "done"


def test_a_prefetch_that_fails_disturbs_nobody(remote):
    bench = remote
    bench.run("source", "write")
    bench.store.remove(bench.get("source")["location"])
    bench.submit("next", "write", source=["source"], waiting_for=[])
    prefetcher = Prefetcher(bench.db, bench.store)
    prefetcher.prefetch_if_due([0])
    prefetcher._pulling.result(30)
    prefetcher.stop()
    bench.work()
    assert "gone from the store" in bench.get("next")["error"]["message"]


def test_a_run_on_s3_hands_everything_on_and_keeps_what_a_failure_left(remote):
    bench = remote
    bench.submit("a", "write", text="a")
    bench.submit("b", "passes_on", source=["a"])
    bench.submit("c", "reads_passed", source=["b"])
    bench.submit("d", "raises")
    bench.work()
    assert {run["_id"]: run["state"] for run in bench.db.runs.find()} == {
        "a": "done",
        "b": "done",
        "c": "done",
        "d": "failed",
    }
    kept = bench.get("d")["error"]["log"]
    assert b"before the end" in bench.store.read(kept.rpartition("/")[0], "repro-log.txt")
    assert bench.get("b")["outputs"][0]["location"].startswith(bench.get("a")["location"])
    keys = [stored.key.rpartition("/")[2] for stored in bench.store.contents(bench.get("b")["location"])]
    assert sorted(keys) == ["repro-config.json", "repro-log.txt", "repro-run.json"]  # not copied


def test_two_workers_on_a_machine_fetch_an_input_once(remote):
    """Told by the server's side: the second one finds the object gone and does not notice."""
    bench = remote
    bench.run("source", "write")
    bench.submit("one", "write", source=["source"], waiting_for=[])
    bench.work()
    bench.store.remove(bench.get("source")["location"])
    bench.submit("two", "write", source=["source"], waiting_for=[], text="other")
    code = "from repro.cli import main; main(['worker', '--burst', '--gpus', 'none'])"
    environment = os.environ | {
        "REPRO_MONGO_URL": url_of(bench.db),
        "REPRO_STORE": bench.store.url,
        "REPRO_HOME": str(bench.folder / "home"),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300, capture_output=True)
    assert bench.get("two")["state"] == "done"


def url_of(db):
    host, port = db.client.primary
    return f"mongodb://{host}:{port}/{db.name}?replicaSet=rs0"

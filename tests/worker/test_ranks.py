"""Several ranks in the queue: what one of them dies of is what the run ends with, and nobody is left behind."""

import threading

import psutil
import pytest

from repro.scheduler import runs
from repro.stages.source import registry
from tests import ranked
from tests.worker.test_worker import wait_for


@pytest.fixture(scope="module")
def ranked_path(toy_path):
    ranked.install(toy_path)
    registry.available.cache_clear()
    return toy_path


@pytest.fixture
def ranked_bench(bench, ranked_path):
    return bench


def nobody_is_left(bench):
    """No process that was forked for a run, at any depth, lives on."""
    fork_server = bench.executor.fork_server._process.pid
    return [p for p in psutil.Process(fork_server).children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE] == []


def test_rank_0_writes_and_the_others_help(ranked_bench):
    run = ranked_bench.run("well", "ranked", ranks=3)
    assert run["state"] == "done", run["error"]
    assert (ranked_bench.folder_of("well") / "out.txt").read_text() == "3 ranks"
    assert run["metrics"] == {"ranks": 3}
    assert run["params"]["ranks"] == {"value": 3, "default": False}
    assert "undeclared" not in run["environment"]


@pytest.mark.parametrize("who", [0, 1])
def test_a_rank_without_a_stdout_costs_no_result(ranked_bench, who):
    run = ranked_bench.run("well", "ranked", ranks=2, who=who, how="closes its stdout")
    assert run["state"] == "done", run["error"]


@pytest.mark.parametrize(
    ("how", "who", "kind", "message"),
    [
        ("tells", 1, "StageError", "rank 1: no good"),
        ("tells", 0, "StageError", "no good"),
        ("raises", 2, "RankError", "rank 2: ValueError: boom"),
        ("raises", 0, "RankError", "rank 0: ValueError: boom"),
        ("writes", 1, "StageError", "rank 1: 'mine.txt': rank 1 creates no outputs; rank 0 does"),
    ],
)
@pytest.mark.parametrize("hangs", [False, True])
def test_the_error_of_one_rank_ends_the_run(ranked_bench, how, who, kind, message, hangs):
    run = ranked_bench.run("bad", "ranked", ranks=3, who=who, how=how, hangs=hangs)
    assert (run["state"], run["error"]["type"], run["error"]["message"]) == ("failed", kind, message)
    assert nobody_is_left(ranked_bench)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("is killed", "rank 1 was killed by SIGKILL"),
        ("meets a full disk", "rank 1: OSError: [Errno 28] No space left on device"),
    ],
)
def test_what_the_machine_does_to_one_rank_is_tried_again(ranked_bench, how, message):
    ranked_bench.submit("bad", "ranked", ranks=2, how=how, options={"max_attempts": 2})
    ranked_bench.work(max_runs=1)
    run = ranked_bench.get("bad")
    assert (run["state"], run["error"]["message"]) == ("pending", message)
    assert nobody_is_left(ranked_bench)


def test_a_cancelled_run_leaves_no_rank_behind(ranked_bench):
    ranked_bench.submit("long", "ranked", ranks=2, who=-1, hangs=True)

    def cancel():
        wait_for(lambda: not nobody_is_left(ranked_bench) and len(_ranks(ranked_bench)) == 3)
        runs.cancel(ranked_bench.db, "long")

    thread = threading.Thread(target=cancel)
    thread.start()
    ranked_bench.work(lease=1.0)
    thread.join()
    assert ranked_bench.get("long")["state"] == "cancelled"
    wait_for(lambda: nobody_is_left(ranked_bench))


def _ranks(bench):
    return psutil.Process(bench.executor.fork_server._process.pid).children(recursive=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ranks": 0}, '"ranks": expected 1 or more, got: 0'),
        ({"ranks": 3, "gpus": 2}, '"ranks": there is one for each of the 2 "gpus", got: 3; leave it out'),
    ],
)
def test_a_count_that_cannot_be_is_one_clear_line(ranked_bench, config, message):
    ranked_bench.submit("bad", "ranked", **config)
    ranked_bench.work(gpus=["GPU-a", "GPU-b"] if "gpus" in config else ())
    assert ranked_bench.get("bad")["error"]["message"] == message

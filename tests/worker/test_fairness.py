"""A run that needs many GPUs is not starved by smaller ones, and only one worker waits for it."""

import threading

import pytest

from repro.scheduler import runs
from tests.worker.test_worker import wait_for


@pytest.mark.parametrize("per_gpu", [1, 2])
def test_a_big_run_that_is_first_in_line_gets_the_gpus_that_become_free(bench, tmp_path, per_gpu):
    bench.submit("running", "paces", enough=str(tmp_path / "enough"), gpus=1)
    worker = bench.worker(cpus=1, gpus=("GPU-a", "GPU-b"), per_gpu=per_gpu, burst=True)

    def submit_the_rest():
        wait_for((tmp_path / "enough.begun").exists)
        bench.submit("big", "noop", gpus=2, options={"priority": 1})
        for number in range(3):
            bench.submit(f"small{number}", "noop", gpus=1)
        bench.submit("card-less", "noop")
        wait_for(lambda: bench.get("card-less")["state"] == "done")
        (tmp_path / "enough").touch()

    thread = threading.Thread(target=submit_the_rest)
    thread.start()
    worker.run()
    thread.join()
    begun = sorted((run["started_at"], run["_id"]) for run in bench.db.runs.find())
    assert {run["_id"]: run.get("error") for run in bench.db.runs.find() if run["state"] != "done"} == {}
    assert [name for _, name in begun][:3] == ["running", "card-less", "big"]
    assert bench.get("card-less")["started_at"] < bench.get("running")["finished_at"]
    assert "aside" not in bench.get("big")


def test_one_worker_alone_sets_itself_aside(bench):
    bench.submit("big", "noop", gpus=2)
    barrier = threading.Barrier(8)
    won = []

    def compete(name):
        barrier.wait()
        if runs.reserve(bench.db, "big", name, 30):
            won.append(name)

    threads = [threading.Thread(target=compete, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert bench.get("big")["aside"]["worker"] == won[0]
    assert runs.reserve(bench.db, "big", won[0], 30)


@pytest.mark.parametrize("gone", ["claimed", "held", "expired"])
def test_what_one_worker_waits_for_may_go_to_another(bench, gone):
    bench.submit("big", "noop", gpus=2)
    assert runs.reserve(bench.db, "big", "w1", 0 if gone == "expired" else 30)
    if gone == "expired":
        wait_for(lambda: runs.reserve(bench.db, "big", "w2", 30))
        assert not runs.reserve(bench.db, "big", "w1", 30)
    elif gone == "held":
        assert runs.hold(bench.db, "big", by="somebody")
        assert not runs.reserve(bench.db, "big", "w1", 30)
    else:
        assert runs.claim(bench.db, "w2", (0, 1, 2), 30)["_id"] == "big"
        assert not runs.reserve(bench.db, "big", "w1", 30)

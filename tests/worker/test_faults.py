"""What a stage's own process meets: the machine's fault brings the run back, its own ends it."""

import dataclasses
import threading

import pytest

from tests.disk import small_disk
from tests.worker.test_worker import wait_for


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("repro.scheduler.runs.expressions.BACKOFF", 0.01)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_the_machines_fault(bench, wrapped):
    run = bench.run("full", "meets_a_full_disk", wrapped=wrapped, options={"max_attempts": 2})
    kind = "RuntimeError" if wrapped else "OSError"
    assert (run["state"], run["attempts"], run["error"]["type"]) == ("failed", 2, kind)
    assert run["error"]["message"].startswith("tried 2 times; last: ")
    assert "errno" not in run["error"]
    assert "No space left on device" in "".join(run["error"]["log_tail"])


def test_memory_that_is_refused_is_the_machines_fault_as_memory_that_is_taken_by_a_kill(bench):
    run = bench.run("hungry", "meets_no_memory", options={"max_attempts": 2})
    assert (run["state"], run["attempts"]) == ("failed", 2)
    assert run["error"]["message"] == "tried 2 times; last: MemoryError"


def test_any_other_error_of_the_system_is_the_runs_own(bench):
    run = bench.run("careless", "opens_what_is_not_there")
    assert (run["state"], run["attempts"], run["error"]["type"]) == ("failed", 1, "FileNotFoundError")


def test_a_run_that_finds_its_workers_disk_full_ends_well_on_another_day(bench, tmp_path):
    """Stage and log write on the same full disk, so not even the reason reaches the log."""
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        bench.executor = dataclasses.replace(bench.executor, home=disk.folder / "home")
        enough = tmp_path / "enough"
        bench.submit("big", "fills_the_disk", enough=str(enough), options={"max_attempts": 1000})

        def relieve():
            wait_for(lambda: bench.get("big")["attempts"] > 2)
            assert "No space left on device" in bench.get("big")["history"][2]["why"]
            enough.touch()

        thread = threading.Thread(target=relieve)
        thread.start()
        bench.work()
        thread.join()
        assert bench.get("big")["state"] == "done"
        assert list((disk.folder / "home" / "work").iterdir()) == []

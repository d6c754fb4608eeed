"""The worker's way from a claim to one transition, with real child processes, folders and a real mongod."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from repro.scheduler import runs
from repro.worker import running
from repro.worker.store import outputs
from tests.processes import is_gone


def wait_for(condition, seconds=300):
    """Poll for an event in another process; fails the test if it never comes."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "the event did not come"
        time.sleep(0.01)
    return result


def test_a_run_ends_done_with_its_folder_complete(bench):
    run = bench.run("first", "write", text="abc")
    folder = bench.folder_of("first")
    assert (run["state"], run["location"], run["metrics"]) == ("done", f"file://{folder}", {"length": 3})
    assert sorted(p.name for p in folder.iterdir()) == [
        "repro-config.json",
        "repro-log.txt",
        "repro-run.json",
        "text.txt",
    ]
    assert json.loads((folder / "repro-config.json").read_text()) == run["config"]
    assert "said abc" in (folder / "repro-log.txt").read_text()
    digest = hashlib.sha256(b"abc").hexdigest()
    assert run["outputs"] == [{"path": "text.txt", "size": 3, "sha256": digest}]
    assert run["params"]["text"] == {"value": "abc", "default": False}
    assert run["params"]["threads"] == {"value": 1, "default": True}
    assert run["environment"]["torch"].startswith("2.")


def test_run_json_tells_what_the_document_tells(bench):
    bench.submit("a", "write")
    run = bench.run("b", "write", source=["a"])
    manifest = json.loads((bench.folder_of("b") / "repro-run.json").read_text())
    for key in ("config", "fingerprint", "outputs", "metrics", "params", "environment", "usage"):
        assert manifest[key] == run[key], key
    assert manifest["name"] == "b"
    assert manifest["sources"]["a"]["location"] == bench.get("a")["location"]


def test_a_chain_runs_in_order_and_gets_its_inputs(bench):
    bench.submit("a", "write", text="a")
    bench.submit("b", "write", source=["a"], text="b", options={"priority": 5})
    bench.submit("c", "write", source=["a", "b"], text="c", options={"priority": 9})
    bench.work(cpus=2)
    assert [bench.get(n)["state"] for n in "abc"] == ["done"] * 3
    assert (bench.folder_of("c") / "text.txt").read_text() == "aabc"


def test_a_file_passed_on_is_recorded_where_it_lies_and_not_copied(bench):
    bench.submit("a", "write", text="a")
    bench.submit("b", "passes_on", source=["a"])
    bench.work()
    run = bench.get("b")
    location = bench.get("a")["location"] + "/text.txt"
    assert [(o["path"], o["location"]) for o in run["outputs"]] == [("passed/text.txt", location)]
    assert not (bench.folder_of("b") / "passed").exists()


def test_a_passed_on_file_reaches_the_run_after(bench):
    bench.submit("a", "write", text="a")
    bench.submit("b", "passes_on", source=["a"])
    bench.work()
    bench.submit("c", "reads_passed", source=["b"])
    bench.work()
    assert bench.get("c")["state"] == "done", bench.get("c").get("error")
    assert (bench.folder_of("c") / "copy.txt").read_text() == "a"
    locations = {o["path"]: o.get("location") for o in bench.get("c")["outputs"]}
    assert locations == {"copy.txt": None, "text.txt": bench.get("a")["location"] + "/text.txt"}


def test_a_stage_that_raises_leaves_error_log_and_no_mark(bench):
    run = bench.run("bad", "raises", text="what went wrong")
    assert run["state"] == "failed"
    assert (run["error"]["type"], run["error"]["message"]) == ("ValueError", "what went wrong")
    assert "before the end" in run["error"]["log_tail"]
    assert run["error"]["log"] == f"file://{bench.folder_of('bad')}/repro-log.txt"
    assert "before the end" in (bench.folder_of("bad") / "repro-log.txt").read_text()
    assert not (bench.folder_of("bad") / "repro-run.json").exists()
    assert "lease" not in run
    assert run["attempts"] == 1


def test_the_children_of_a_failed_run_wait_and_the_worker_leaves(bench):
    bench.submit("child", "write", source=["bad"])
    bench.run("bad", "raises")
    assert bench.get("child")["state"] == "waiting"


def test_a_killed_stage_is_the_machines_fault_and_is_tried_again(bench, monkeypatch):
    monkeypatch.setattr("repro.scheduler.runs.expressions.BACKOFF", 0.01)
    run = bench.run("dying", "dies", options={"max_attempts": 2})
    assert (run["state"], run["attempts"]) == ("failed", 2)
    assert "SIGKILL" in run["error"]["message"]
    assert [entry["to"] for entry in run["history"]] == ["pending", "running", "pending", "running", "failed"]


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_by_sys_exit_is_no_way_to_end_well(bench, code):
    run = bench.run("leaving", "leaves", code=code)
    assert (run["state"], run["error"]["type"]) == ("failed", "SystemExit")


def test_an_unknown_stage_in_a_document_is_left_to_others(bench):
    runs.submit(bench.db, [runs.document("poison", {"stage": "nothing"}, "p", [], [])])
    bench.submit("good", "noop")
    bench.work()
    run = bench.get("poison")
    assert (run["state"], run["attempts"]) == ("pending", 0)
    assert "unknown stage" in run["history"][-1]["why"]
    assert bench.get("good")["state"] == "done"


def test_a_source_that_vanished_from_the_store_is_named(bench):
    bench.run("a", "write")
    (bench.folder_of("a") / "text.txt").unlink()
    run = bench.run("b", "write", source=["a"], waiting_for=[])
    assert run["state"] == "failed"
    assert "gone from the store" in run["error"]["message"]
    assert "text.txt" in run["error"]["message"]


def an_hour_passes(monkeypatch, when):
    """For the clock by which limits are judged, once there is this file: however slow the machine is until then."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * Path(when).exists())
    monkeypatch.setattr(running, "time", clock)


def test_a_time_limit_ends_a_run_and_all_its_processes(bench, tmp_path, monkeypatch):
    started = str(tmp_path / "started")
    an_hour_passes(monkeypatch, f"{started}.ready")
    run = bench.run("slow", "sleeps", started=started, options={"time_limit": 1800})
    assert (run["state"], run["error"]["type"]) == ("failed", "TimeLimit")
    assert_all_gone(started)


def test_a_cancelled_run_stops_within_a_heartbeat(bench, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("slow", "sleeps", started=started)

    def cancel():
        wait_for(Path(started + ".ready").exists)
        assert runs.cancel(bench.db, "slow")

    threading.Thread(target=cancel).start()
    bench.work(lease=0.6)
    assert bench.get("slow")["state"] == "cancelled"
    assert_all_gone(started)


def test_progress_reaches_the_document_with_a_heartbeat(bench, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("slow", "sleeps", started=started)
    seen = []

    def watch():
        seen.append(wait_for(lambda: bench.get("slow").get("progress")))
        runs.cancel(bench.db, "slow")

    threading.Thread(target=watch).start()
    bench.work(lease=0.6)
    assert seen == [{"step": 1, "total": 2, "metrics": {"loss": 0.5}, "begun": 0}]


def test_sigterm_hands_the_run_back_at_once(bench, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("slow", "sleeps", started=started)
    threading.Thread(
        target=lambda: (wait_for(Path(started + ".ready").exists), os.kill(os.getpid(), signal.SIGTERM))
    ).start()
    bench.worker().run()
    run = bench.get("slow")
    assert (run["state"], run["attempts"]) == ("pending", 0)
    assert "lease" not in run
    assert_all_gone(started)


def test_the_first_ctrl_c_finishes_what_runs_and_claims_no_more(bench, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("short", "sleeps", started=started, seconds=1)
    bench.submit("next", "noop")
    threading.Thread(
        target=lambda: (wait_for(Path(started + ".ready").exists), os.kill(os.getpid(), signal.SIGINT))
    ).start()
    bench.worker().run()
    assert (bench.get("short")["state"], bench.get("next")["state"]) == ("done", "pending")


def test_max_runs_is_kept(bench):
    for name in "abc":
        bench.submit(name, "noop")
    bench.work(max_runs=2)
    assert sorted(bench.get(n)["state"] for n in "abc") == ["done", "done", "pending"]


def test_an_expired_run_is_taken_up_by_an_idle_worker_in_a_folder_of_its_own(bench):
    bench.submit("orphan", "write")
    lost = runs.claim(bench.db, "dead", (0,), 30)
    bench.store.open_attempt(bench.store.location("orphan", lost["lease"]["token"]))
    past = datetime(2000, 1, 1, tzinfo=UTC)
    bench.db.runs.update_one({"_id": "orphan"}, {"$set": {"lease.expires_at": past}})
    bench.work()
    run = bench.get("orphan")
    assert (run["state"], run["attempts"]) == ("done", 2)
    assert not run["location"].endswith(lost["lease"]["token"][:8])
    assert len(list((bench.folder / "store").iterdir())) == 2


def test_a_release_that_was_lost_is_made_up_for(bench):
    bench.run("a", "write")
    bench.submit("b", "write", source=["a"])
    bench.work()
    assert bench.get("b")["state"] == "done"


def test_the_environment_of_a_run_is_an_allow_list(bench, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "of the worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the worker")
    monkeypatch.setenv("ASKED_FOR", "by the stage's module")
    bench.run("env", "environment")
    variables = json.loads((bench.folder_of("env") / "environment.json").read_text())
    assert "of the worker" not in variables.values()
    assert variables["ASKED_FOR"] == "by the stage's module"
    assert not [key for key in variables if key.startswith("REPRO_")]
    assert (variables["PYTHONHASHSEED"], variables["CUDA_VISIBLE_DEVICES"], variables["TZ"]) == ("0", "", "UTC")


def test_a_run_sees_exactly_the_gpus_of_its_slot(bench):
    bench.submit("two", "environment", gpus=2)
    bench.work(cpus=0, gpus=("GPU-a", "GPU-b", "GPU-c"))
    variables = json.loads((bench.folder_of("two") / "environment.json").read_text())
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"


def test_the_fork_server_is_replaced_when_it_died(bench):
    bench.run("one", "noop")
    os.kill(bench.executor.fork_server._process.pid, signal.SIGKILL)
    bench.executor.fork_server._process.wait()
    assert bench.run("two", "noop")["state"] == "done"


def test_more_outputs_than_a_document_may_list_are_read_from_the_manifest(bench, monkeypatch):
    monkeypatch.setattr(outputs, "MOST_OUTPUTS", 0)
    run = bench.run("a", "write", text="a")
    assert (run["outputs"], run["outputs_total"]["count"], run["outputs_total"]["size"]) == ([], 1, 1)
    manifest = (bench.folder_of("a") / "repro-run.json").read_bytes()
    assert run["outputs_total"]["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert bench.run("b", "write", source=["a"], waiting_for=[])["state"] == "done"


def test_nothing_is_left_in_the_work_folder(bench):
    bench.run("a", "write")
    bench.run("b", "raises")
    assert list((bench.folder / "home" / "work").iterdir()) == []


def test_kill_9_of_a_worker_ends_its_stage_and_what_the_stage_started(bench, settings_environment, toy_path, tmp_path):
    started = str(tmp_path / "started")
    bench.submit("slow", "sleeps", started=started)
    environment = settings_environment | {"PYTHONPATH": str(toy_path)}
    command = ["repro-worker", "--gpus", "none"]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(Path(started + ".ready").exists)
    worker.kill()
    worker.wait()
    assert_all_gone(started)


def assert_all_gone(started):
    pids = json.loads(Path(started + ".ready").read_text()).values()
    wait_for(lambda: all(map(is_gone, pids)))

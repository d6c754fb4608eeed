"""What a run uses and how fast it goes: while it runs, and in sum; never part of its result."""

import json
import os
from pathlib import Path

import pytest

from repro.worker.gpus import Load
from repro.worker.live.usage_meter import WINDOW, UsageMeter
from tests.worker.fixed_gpus import FixedGpus
from tests.worker.test_live import beside
from tests.worker.test_worker import wait_for

MIB = 1 << 20


def test_the_speed_is_that_of_the_last_steps_and_in_sum_that_of_all():
    meter = UsageMeter()
    assert meter.now() == meter.summary() == {}
    meter.record_step(500, 10.0)  # it goes on from a checkpoint: these steps are none of its own
    assert meter.now() == {}
    for second in range(1, 101):
        meter.record_step(500 + second, 10.0 + second)
    assert meter.now() == {"steps_per_second": 1.0}
    for second in range(101, 201):
        meter.record_step(600 + (second - 100) * 10, 10.0 + second)
    assert meter.now() == {"steps_per_second": 10.0}
    assert meter.summary() == {"steps_per_second": 5.5}
    assert len(meter._recent) <= WINDOW + 2


def test_steps_slower_than_the_window_have_a_speed_too():
    meter = UsageMeter()
    for step in range(5):
        meter.record_step(step, step * 10 * WINDOW)
    assert meter.now()["steps_per_second"] == pytest.approx(1 / (10 * WINDOW), rel=1e-3)


def test_a_count_that_begins_again_has_its_own_speed():
    meter = UsageMeter()
    for second in range(50):
        meter.record_step(second * 1000, second)
    for second in range(50):
        meter.record_step(second, 50.0 + second)
    assert meter.now() == meter.summary() == {"steps_per_second": 1.0}


def test_gpus_are_measured_and_added_up():
    inventory, meter = FixedGpus(("A", "B")), UsageMeter()
    here = os.getpgid(0)
    inventory.loads = {"A": Load(80, 9 * MIB, {os.getpid(): 4 * MIB, 1: 5 * MIB}), "B": Load(None, 3 * MIB)}
    meter.measure(inventory, ["A", "B"], here)
    first, second = meter.now()["cards"]
    assert first == {"utilisation": 80, "memory": 4 * MIB}  # its own, on a card that it shares
    assert second == {"utilisation": None, "memory": 3 * MIB}
    inventory.loads = {"A": Load(100, MIB), "B": None}
    meter.measure(inventory, ["A", "B"], here)
    assert meter.now()["cards"][0] == {"utilisation": 100, "memory": MIB}
    assert meter.summary()["cards"] == [
        {"utilisation": 90, "memory": 4 * MIB},
        {"utilisation": None, "memory": 3 * MIB},
    ]


def test_a_running_run_tells_what_it_uses_and_a_done_one_has_the_sum(bench, tmp_path):
    inventory = FixedGpus(("GPU-a",), {"GPU-a": Load(93, 12 * MIB)})
    enough = tmp_path / "enough"
    bench.submit("run", "paces", enough=str(enough), bytes=200 * MIB, gpus=1)

    def now():
        return bench.get("run").get("telemetry") or {}

    def watch():
        try:
            early = wait_for(lambda: now().get("cards") and now().get("steps_per_second"))
            pid = int(wait_for(lambda: Path(f"{enough}.begun").read_text()))
            inventory.loads = {"GPU-a": Load(71, 12 * MIB, {pid: 7 * MIB, 1: 5 * MIB})}
            busy = {"utilisation": 71, "memory": 7 * MIB}
            wait_for(lambda: now().get("cards") == [busy])
            return early, now()
        finally:
            enough.touch()

    early, late = beside(bench, watch, cpus=0, gpus=inventory.uuids, inventory=inventory, lease=1, max_runs=1)
    run = bench.get("run")
    assert run["state"] == "done"
    assert 0 < early < 40
    assert 0 < late["steps_per_second"] < 40
    assert "telemetry" not in run
    usage = run["usage"]
    assert 71 <= usage["cards"][0]["utilisation"] <= 93
    assert usage["cards"][0]["memory"] == 12 * MIB
    assert 0 < usage["steps_per_second"] < 40
    assert usage["memory"] >= late["memory"] > 200 * MIB
    assert json.loads((bench.folder_of("run") / "repro-run.json").read_text())["usage"] == usage
    assert not {"telemetry", "usage"} & run["environment"].keys()


def test_memory_is_the_most_that_a_stage_has_had_however_short_it_was(bench, tmp_path):
    enough = tmp_path / "enough"
    enough.touch()
    small = bench.run("small", "paces", enough=str(enough))["usage"]["memory"]
    large = bench.run("large", "paces", enough=str(enough), bytes=300 * MIB)["usage"]["memory"]
    assert large - small > 250 * MIB

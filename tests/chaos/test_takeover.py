"""How long it takes until a killed worker's run is claimable, and until it runs on another worker that is idle."""

import os
from statistics import median

import pytest

from repro.scheduler import runs
from tests.chaos import checker, objects
from tests.chaos.figures import taken_up
from tests.chaos.fleet import Fleet
from tests.chaos.history import holder
from tests.chaos.recorder import Recorder
from tests.worker.test_worker import wait_for

KILLS = int(os.environ.get("KILLS", "2"))
LEASE = 3.0


@pytest.mark.timeout(600 + 30 * KILLS)
def test_a_killed_workers_run_is_claimable_within_its_lease_and_runs_at_once_on_an_idle_one(
    bench, settings_environment, toy_path, mongo_server, tell
):
    environment = settings_environment | {"PYTHONPATH": str(toy_path), "STRIKES": str(bench.folder)}
    with Recorder(mongo_server, bench.db.name, objects.LocalObjects(bench.store.url), LEASE) as recorder:
        fleet = Fleet(recorder.history, [environment] * 3, bench.folder / "workers.log")
        try:
            for number in range(KILLS):
                kill_the_holder(bench, fleet, f"run{number}")
        finally:
            fleet.end()
    found = [times for life in recorder.history.lives if life.killed for times in taken_up(recorder.history, life)]
    claimable = [seconds for seconds, _ in found]
    running = [running - claimable for claimable, running in found]
    tell(f"kill -9 of {KILLS} workers, lease {LEASE:g} s, one of the others idle:")
    tell(f"  to claimable: median {median(claimable):.2f} s, max {max(claimable):.2f} s")
    tell(f"  from there to running: median {median(running):.3f} s, max {max(running):.3f} s")
    assert len(found) == KILLS
    assert max(claimable) < LEASE + 2 + checker.GRACE
    assert max(running) < 1 + checker.GRACE
    assert checker.check_takeovers(recorder.history) == []


def kill_the_holder(bench, fleet, name):
    """Right after its claim, when its lease is longest; when the run runs elsewhere it is cancelled."""
    started = bench.folder / name
    wait_for(lambda: bench.db.workers.count_documents({}) >= len(fleet.seats), 60)
    bench.submit(name, "sleeps", started=str(started))
    wait_for(started.with_suffix(".ready").exists, 60)
    worker = holder(bench.get(name))
    (seat,) = [seat for seat in fleet.seats if seat.life.worker == worker]
    seat.kill()
    wait_for(lambda: holder(bench.get(name)) not in (None, worker), 60)
    assert runs.cancel(bench.db, name)

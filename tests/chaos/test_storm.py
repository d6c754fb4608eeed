"""Storms of faults over the whole queue; `make chaos SEEDS="2 3 4"` runs other ones than the tests do."""

import os

import pytest

from scheduler.mongo import connect
from scheduler.settings import Settings
from tests.chaos import checker, figures
from tests.chaos.chains import Calm
from tests.chaos.storm import Storm


@pytest.fixture(scope="module")
def calm(mongo_server, interpreter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    base, _, query = mongo_server.partition("?")
    db = connect(Settings.read({"REPRO_MONGO_URL": f"{base.rpartition('/')[0]}/calm?{query}"}))
    yield Calm(db, folder, interpreter)
    db.client.drop_database("calm")
    db.client.close()


@pytest.mark.storm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1").split())
def test_no_run_is_lost_doubled_or_changed(calm, toy_path, tmp_path, seed, keep_figures):
    with Storm(tmp_path, toy_path, seed) as storm:
        storm.rage()
        before, after = storm.calm()
        violations = checker.check(storm.history, before, after, calm.final(storm.chains))
    keep_figures(figures.of(seed, storm, before, violations))
    assert not any(violations.values()), violations

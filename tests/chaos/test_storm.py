"""Storms of faults over the whole queue: short ones by `make test-all`, longer ones by `make chaos SEEDS="1 2 3"`."""

import os

import pytest

from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests.chaos import checker, figures, stores
from tests.chaos.chains import Calm
from tests.chaos.storm import Storm

CHAINS = int(os.environ.get("CHAINS", "14"))  # at least, of three runs each


@pytest.fixture(scope="module")
def calm(mongo_server, fork_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    base, _, query = mongo_server.partition("?")
    db = connect(Settings.read({"REPRO_MONGO_URL": f"{base.rpartition('/')[0]}/calm?{query}"}))
    yield Calm(db, folder, fork_server)
    db.client.drop_database("calm")
    db.client.close()


@pytest.fixture
def store(request, seed, tmp_path):
    """In storms of odd seeds results go to a bucket, in those of even ones to a folder."""
    of_seed = stores.bucket(request.getfixturevalue("ceph")) if int(seed) % 2 else stores.folder(tmp_path / "disk")
    with of_seed as place:
        yield place


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("wrong_clocks")
@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1 2").split())
def test_no_run_is_lost_doubled_or_changed(calm, toy_path, tmp_path, seed, store, keep_figures):
    with Storm(tmp_path, toy_path, seed, store, CHAINS) as storm:
        storm.rage()
        before, after = storm.calm()
        neighbour = [storm.neighbour.final(found) for found in (before, after)]
        undisturbed = calm.final(storm.chains)
        violations = checker.check(storm.history, before, after, undisturbed, neighbour[1])
        violations["neighbour"] = checker.check_neighbour(*neighbour, undisturbed)
    assert storm.left_by_older_code(), "the older worker has met no run whose key it does not know"
    keep_figures(figures.of(seed, storm, before, violations))
    told = [f"{point}: {violation}" for point, found in violations.items() for violation in found]
    assert not told, "\n".join(told)
    assert bool(before.uploads) == (store.proxy is not None)  # one was interrupted, so there was something for gc to do

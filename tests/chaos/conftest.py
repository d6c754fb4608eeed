"""The bench of the worker's tests, for histories of a worker in this process; and the figures of a session's storms."""

import pytest

from tests.chaos import clock, figures
from tests.needs import need
from tests.worker.conftest import bench, fork_server, toy_path

__all__ = ["bench", "fork_server", "toy_path"]

STORMS, LINES = pytest.StashKey[list[figures.Figures]](), pytest.StashKey[list[str]]()


@pytest.fixture
def witness(tmp_path, monkeypatch):
    """Stages tell what they write, for whoever asks in `tmp_path / "witness"`; the patch of the environment."""
    (tmp_path / "witness").mkdir()
    monkeypatch.setenv("ASKED_WITNESS", str(tmp_path / "witness"))
    return monkeypatch


@pytest.fixture(scope="session")
def wrong_clocks():
    """That programs can be given one."""
    need(clock.library() is not None, "libfaketime")


@pytest.fixture
def keep_figures(pytestconfig):
    """Have a storm's figures shown, with those of the others, when all tests have run."""
    return pytestconfig.stash.setdefault(STORMS, []).append


@pytest.fixture
def tell(pytestconfig):
    """Have a line shown when all tests have run."""
    return pytestconfig.stash.setdefault(LINES, []).append


def pytest_terminal_summary(terminalreporter, config):
    storms, lines = config.stash.get(STORMS, []), config.stash.get(LINES, [])
    if storms or lines:
        terminalreporter.section("what the faults came to")
    for line in (*lines, *(figures.table(storms) if storms else ())):
        terminalreporter.line(line)

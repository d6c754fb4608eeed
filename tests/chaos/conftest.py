"""The bench of the worker's tests, for histories of a worker in this process; and the figures of a session's storms."""

import pytest

from tests.chaos import figures
from tests.worker.conftest import bench, interpreter, toy_path

__all__ = ["bench", "interpreter", "toy_path"]

FIGURES = pytest.StashKey[list[figures.Figures]]()


@pytest.fixture
def keep_figures(pytestconfig):
    """Have figures shown when all tests have run."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter, config):
    if found := config.stash.get(FIGURES, []):
        terminalreporter.section("figures of the storms")
        for line in figures.table(found):
            terminalreporter.line(line)

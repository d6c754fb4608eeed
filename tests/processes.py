"""Processes that tests start, and watching them end."""

import os
from pathlib import Path

import psutil

from repro.stages.running.environment import asked_for, common_environment

SOURCE = Path(__file__).parents[1] / "src"


def is_gone(pid):
    """A zombie is gone too: nobody may have waited for it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def environment_of_a_run():
    """For a run without a queue, which begins anew in this if it is started in another one."""
    return common_environment(os.environ) | asked_for(["REPRO_DATA"], os.environ) | {"PYTHONPATH": str(SOURCE)}

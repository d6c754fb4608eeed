"""Watching processes end."""

import psutil


def is_gone(pid):
    """A zombie is gone too: nobody may have waited for it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

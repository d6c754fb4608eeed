"""What every command begins with: the settings from the environment and the queue that they name."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue


def connect() -> "Queue":
    """The queue's database; starts the embedded MongoDB where no URL is set."""
    from repro.scheduler.server.connection import connect as open_queue
    from repro.scheduler.settings import Settings

    return open_queue(Settings.read())


def has_queue() -> bool:
    """Whether there is one to ask without starting the first of this home."""
    from repro.scheduler.settings import Settings

    settings = Settings.read()
    return bool(settings.mongo_url) or (settings.home / "mongo").exists()

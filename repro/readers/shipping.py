"""The way of a user's own code to the workers: through the store, put there when a run is submitted."""

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from repro.scheduler.queue import workers
from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError
from repro.stages.source import packing, provenance, registry
from repro.worker.store import code_archives, identity
from repro.worker.store.store import Store

if TYPE_CHECKING:
    from repro.scheduler.queue.submission import Ship
    from repro.scheduler.server.connection import Queue


def shipper(db: "Queue", here: bool = False) -> "Ship":
    """What `submission.submit` calls for each stage. `here`: all code stays where it is."""
    return provenance.submitted if here else _Shipper(db)


class _Shipper:
    """Opens the store when there is the first code of a user's own to be put there."""

    def __init__(self, db: "Queue") -> None:
        self._db = db

    def __call__(self, stage: str) -> Mapping[str, Any]:
        """What a document keeps of a stage's code.

        Raises:
            ConfigError: it is too big.
            ReproError: the store can't be used.
        """
        told, module = provenance.submitted(stage), registry.locate(stage).partition(":")[0]
        packed = packing.pack(module)
        if packed is None or self._store is None:
            return told
        facts = {key: value for key, value in provenance.snapshot(stage).facts.items() if key in provenance.OF_GIT}
        location, imports = code_archives.keep(self._store, packed), provenance.libraries(module)
        where = {"archive": packed.sha256, "location": location, "folders": list(packed.folders)}
        return told | facts | where | ({"imports": imports} if imports else {})

    @cached_property
    def _store(self) -> Store | None:
        """The queue's store; None where nobody has said yet which it is."""
        settings, known = Settings.read(), workers.known_store(self._db)
        if settings.said_store or not (known or settings.mongo_url):
            known = workers.check_store(self._db, settings.store) or {"url": settings.store}
        if known is None:
            print(NOT_KNOWN, file=sys.stderr)
            return None
        try:
            store = Store.open(known["url"], settings.home)
            identity.check(store, known.get("id"))
            store.objects.check()
        except ReproError as error:
            raise type(error)(f"{error}; or compute with the code that lies where the workers are: --here") from None
        return store


NOT_KNOWN = (
    "note: the code of these runs stays here, and their workers must have it: no worker has told yet where the results "
    "of this queue lie. Set REPRO_STORE as for the workers, and it goes to them with the runs"
)

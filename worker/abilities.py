"""What this worker has that a run may need: its labels, its cards, and the versions of what is installed here.

Which classes of demands wait is asked now and then, and each is judged once; claims name those that are met.
"""

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from repro.scheduler.queue import claims
from repro.scheduler.runs import demands
from repro.scheduler.server.connection import Queue
from repro.worker.gpus import Gpu
from repro.worker.polling import PollingRates

TOLD = ("torch", "numpy", "repro-queue")  # whose versions are told to people; any other can be asked for, too
MOST = 50  # classes that are told


class Abilities:
    """`labels`: those that its user gave it; `gpus`: the cards of its slots, `card` and `memory` of which are known if
    it is true of all of them."""

    def __init__(
        self, labels: Mapping[str, str] | None = None, gpus: Sequence[Gpu] = (), rates: PollingRates | None = None
    ) -> None:
        self._rates = rates or PollingRates()
        names = {gpu.name for gpu in gpus}
        self._known: dict[str, str | int] = {"python": platform.python_version()}
        self._known |= {"memory": min(gpu.memory for gpu in gpus)} if gpus else {}
        self._known |= {"card": names.pop()} if len(names) == 1 else {}
        self.labels = dict(labels or {})
        self._known |= {name: found for name in TOLD if (found := _version(name)) is not None}
        self._judged: dict[str, bool] = {}
        self._look_at = 0.0

    def has(self, what: str) -> str | int | None:
        """A label, `card`, `memory` in bytes, `python`, or the version of a distribution; None if it has none."""
        if what in self.labels or what in self._known:
            return self.labels.get(what, self._known.get(what))
        if what.startswith(demands.MODULE):
            return _importable(what.removeprefix(demands.MODULE))
        return _version(what)

    def told(self) -> dict[str, str | int]:
        """What people are told of it."""
        return self._known | self.labels

    def met(self, db: Queue) -> list[str]:
        """The classes of demands that it meets, of those that wait, as it was a moment ago.

        Raises:
            DriverError: MongoDB is away.
        """
        if time.monotonic() >= self._look_at:
            waiting = claims.classes_waiting(db)
            new = {one: demands.is_met(one, self.has) for one in waiting if one not in self._judged}
            self._judged = {one: is_met for one, is_met in (self._judged | new).items() if one in waiting}
            self._look_at = time.monotonic() + self._rates.healing_interval()
        return self.known_to_be_met()

    def known_to_be_met(self) -> list[str]:
        """The same without a question to the queue."""
        return [one for one, is_met in self._judged.items() if is_met]

    def not_met(self) -> list[str]:
        """The classes that wait, and are for others."""
        return [one for one, is_met in self._judged.items() if not is_met]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def _importable(name: str) -> str | None:
    """Whether a module is installed here, without an import of it."""
    try:
        return "here" if name in sys.builtin_module_names or find_spec(name) else None
    except (ImportError, ValueError, AttributeError):
        return None

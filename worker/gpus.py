"""The cards of this machine, as the driver tells of them through NVML; nothing here imports torch."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from repro.stages.errors import ReproError

# A context of CUDA takes more on any card; less is what a driver, or a desktop that shows no processes, takes.
HIDDEN = 150 << 20  # bytes in use from which a card without a process that we may see is somebody's


@dataclass(frozen=True)
class Card:
    uuid: str
    name: str
    memory: int  # bytes


@dataclass(frozen=True)
class Load:
    """How a card is used at this moment.

    Attributes:
        utilisation: percent of the last moments in which it computed; None where the driver does not say.
        memory: bytes in use, whoever uses them.
        computing: process id -> bytes of those that compute on it; in a container the host's ids, or none at all.
        others: how many processes use it for something else, such as a screen.
    """

    utilisation: int | None = None
    memory: int = 0
    computing: Mapping[int, int] = field(default_factory=dict)
    others: int = 0


class Inventory(Protocol):
    """What cards there are. Tests have one that is fixed."""

    def cards(self) -> Sequence[Card]:
        """Those that this process may use, in the driver's order.

        Raises:
            ReproError: one does not answer.
        """

    def load(self, uuid: str) -> Load | None:
        """How one is used now; None if the driver does not answer for it."""


class Nvml:
    """NVIDIA's own inventory, kept open: to begin anew at every look would take longer than the look."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        self._handles: dict[str, Any] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            self.there = False
        else:
            self.there = True

    def cards(self) -> list[Card]:
        if not self.there:
            return []
        found = {card.uuid: card for card in map(self._card, range(self._nvml.nvmlDeviceGetCount()))}
        return [found[uuid] for uuid in visible(list(found), os.environ.get("CUDA_VISIBLE_DEVICES"))]

    def _card(self, index: int) -> Card:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            return Card(str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle)), memory)
        except nvml.NVMLError as error:
            raise ReproError(f"card {index} does not answer: {error}; see nvidia-smi") from error

    def load(self, uuid: str) -> Load | None:
        if not self.there:
            return None
        nvml = self._nvml
        try:
            if uuid not in self._handles:
                self._handles[uuid] = nvml.nvmlDeviceGetHandleByUUID(uuid)
            handle = self._handles[uuid]
            computing = {int(p.pid): int(p.usedGpuMemory or 0) for p in self._computing(handle)}
            return Load(self._utilisation(handle), self._memory(handle), computing, self._others(handle))
        except nvml.NVMLError:
            return None

    def _memory(self, handle: Any) -> int:
        """Bytes in use; the newer call leaves out what the driver keeps for itself."""
        nvml = self._nvml
        with suppress(nvml.NVMLError, AttributeError):
            return int(nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2).used)
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)

    def _utilisation(self, handle: Any) -> int | None:
        with suppress(self._nvml.NVMLError):
            return int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        return None

    def _computing(self, handle: Any) -> list[Any]:
        with suppress(self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):  # which an older driver is
            return list(self._nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return []

    def _others(self, handle: Any) -> int:
        with suppress(self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return len(self._nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
        return 0


def visible(uuids: list[str], allowed: str | None) -> list[str]:
    """What a scheduler such as SLURM left of the machine's cards."""
    if allowed is None:
        return uuids
    words = [word.strip() for word in allowed.split(",") if word.strip()]
    found = [uuids[int(w)] if w.isdigit() and int(w) < len(uuids) else w for w in words]
    return [uuid for uuid in found if uuid in uuids]


def foreign(inventory: Inventory, cards: Sequence[str], groups: Collection[int], ours: Collection[str]) -> list[str]:
    """The cards on which somebody else computes.

    `groups`: the process groups of our runs; `ours`: the cards that they have. Inside a container, where processes
    carry ids that nobody here has or are not shown at all, a card of our own runs counts as theirs alone.
    """
    return [card for card in cards if (load := inventory.load(card)) and _is_foreign(load, groups, card in ours)]


def _is_foreign(load: Load, groups: Collection[int], has_ours: bool) -> bool:
    if not load.computing:
        return not has_ours and not load.others and load.memory > HIDDEN
    return any(not is_in(pid, groups, unknown=has_ours) for pid in load.computing)


def is_in(pid: int, groups: Collection[int], unknown: bool = False) -> bool:
    """Whether a process is in one of these groups; `unknown` if there is no such process here."""
    try:
        return os.getpgid(pid) in groups
    except ProcessLookupError:
        return unknown

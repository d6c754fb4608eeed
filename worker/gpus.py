"""The GPUs of this machine, as the driver describes them through NVML; nothing here imports torch."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from repro.stages.errors import ReproError

# A context of CUDA takes more on any GPU; less is what a driver, or a desktop that shows no processes, takes.
MEMORY_OF_OTHERS = 150 << 20  # bytes in use from which a GPU without a process that we may see is somebody else's


@dataclass(frozen=True)
class Gpu:
    uuid: str
    name: str
    memory: int  # bytes


@dataclass(frozen=True)
class Load:
    """How a GPU is used at this moment.

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
    """Which GPUs there are. Tests have one that is fixed."""

    def gpus(self) -> Sequence[Gpu]:
        """Those that this process may use, in the driver's order.

        Raises:
            ReproError: one does not answer.
        """

    def load(self, uuid: str) -> Load | None:
        """How one is used now; None if the driver does not answer for it."""


class Nvml:
    """NVIDIA's own inventory, kept open: to begin anew for every reading would take longer than the reading."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        self._handles: dict[str, Any] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            self.has_driver = False
        else:
            self.has_driver = True

    def gpus(self) -> list[Gpu]:
        if not self.has_driver:
            return []
        by_uuid = {gpu.uuid: gpu for gpu in map(self._gpu, range(self._nvml.nvmlDeviceGetCount()))}
        return [by_uuid[uuid] for uuid in visible_gpus(list(by_uuid), os.environ.get("CUDA_VISIBLE_DEVICES"))]

    def _gpu(self, index: int) -> Gpu:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            return Gpu(str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle)), memory)
        except nvml.NVMLError as error:
            raise ReproError(f"card {index} does not answer: {error}; see nvidia-smi") from error

    def load(self, uuid: str) -> Load | None:
        if not self.has_driver:
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


def visible_gpus(uuids: list[str], allowed: str | None) -> list[str]:
    """What a scheduler such as SLURM left of the machine's GPUs; `allowed` is the CUDA_VISIBLE_DEVICES that it set."""
    if allowed is None:
        return uuids
    words = [word.strip() for word in allowed.split(",") if word.strip()]
    named = [uuids[int(word)] if word.isdigit() and int(word) < len(uuids) else word for word in words]
    return [uuid for uuid in named if uuid in uuids]


def used_by_others(
    inventory: Inventory, gpus: Sequence[str], groups: Collection[int], ours: Collection[str]
) -> list[str]:
    """The GPUs on which somebody else computes.

    `groups`: the process groups of our runs; `ours`: the GPUs that these have. Inside a container, where processes
    carry ids that nobody here has or are not shown at all, a GPU of our own runs counts as theirs alone.
    """
    return [gpu for gpu in gpus if (load := inventory.load(gpu)) and _is_used_by_others(load, groups, gpu in ours)]


def _is_used_by_others(load: Load, groups: Collection[int], has_ours: bool) -> bool:
    if not load.computing:
        return not has_ours and not load.others and load.memory > MEMORY_OF_OTHERS
    return any(not is_in_group(pid, groups, unknown=has_ours) for pid in load.computing)


def is_in_group(pid: int, groups: Collection[int], unknown: bool = False) -> bool:
    """Whether a process is in one of these process groups; `unknown` if there is no such process here."""
    try:
        return os.getpgid(pid) in groups
    except ProcessLookupError:
        return unknown

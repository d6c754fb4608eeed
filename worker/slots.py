"""Places for runs on this machine: GPUs by UUID, whole or in shares, and places for runs that need no GPU."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

from repro.stages.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """What one run may use: these GPUs, or one of the places without a GPU.

    `shares_card`: other runs may use the same GPU.
    """

    gpus: tuple[str, ...] = ()
    shares_card: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Exactly the GPUs of the slot are visible; none at all where it has none."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}


class Slots:
    """A pool that hands out slots; `gpus` of a config says how many GPUs, 0 takes a place without any.

    A run of one GPU takes a share of it, of which each GPU has `per_gpu`; a run of more takes whole GPUs, of which
    nobody has a share. What somebody else uses (`avoid`) is handed out to nobody.
    """

    def __init__(self, gpus: Sequence[str], cpus: int, per_gpu: int = 1) -> None:
        self.all_gpus, self.all_cpus, self.per_gpu = tuple(gpus), cpus, per_gpu
        self._free_cpus = cpus
        self._shares = dict.fromkeys(self.all_gpus, 0)  # of each GPU, how many are handed out
        self._avoided: frozenset[str] = frozenset()
        self._lock = Lock()

    @property
    def size(self) -> int:
        """The most runs that can be here at once."""
        return len(self.all_gpus) * self.per_gpu + self.all_cpus

    @property
    def used(self) -> list[str]:
        """The GPUs that runs of ours have, or have a share of."""
        with self._lock:
            return [gpu for gpu, shares in self._shares.items() if shares]

    @property
    def avoided(self) -> list[str]:
        with self._lock:
            return [gpu for gpu in self.all_gpus if gpu in self._avoided]

    def avoid(self, gpus: Collection[str]) -> None:
        """From now on these are somebody else's, and no others are."""
        with self._lock:
            self._avoided = frozenset(gpus)

    def fitting(self) -> list[int]:
        """The values of `gpus` that could start now."""
        with self._lock:
            most = len(self._whole_gpus()) or int(bool(self._gpus_with_room()))
            return [*([0] if self._free_cpus else []), *range(1, most + 1)]

    def within_reach(self) -> int:
        """How many GPUs one run could get if all of our runs had ended."""
        return len(self.all_gpus) - len(self.avoided)

    def possible(self) -> list[int]:
        """The values of `gpus` that could start here at all."""
        return [*([0] if self.all_cpus else []), *range(1, len(self.all_gpus) + 1)]

    def take(self, gpus: int) -> Slot:
        """A slot for so many GPUs, which must be one of `fitting`."""
        with self._lock:
            if gpus == 0:
                self._free_cpus -= 1
                return Slot()
            if gpus == 1:
                # Runs on the same GPU slow each other down: spread them.
                gpu = min(self._gpus_with_room(), key=self._shares.__getitem__)
                self._shares[gpu] += 1
                return Slot((gpu,), self.per_gpu > 1)
            whole = tuple(self._whole_gpus()[:gpus])
            self._shares |= dict.fromkeys(whole, self.per_gpu)
            return Slot(whole)

    def give_back(self, slot: Slot) -> None:
        with self._lock:
            if not slot.gpus:
                self._free_cpus += 1
            for gpu in slot.gpus:
                self._shares[gpu] -= 1 if len(slot.gpus) == 1 else self.per_gpu

    def _whole_gpus(self) -> list[str]:
        """The GPUs of which nobody has a share."""
        return [gpu for gpu, shares in self._shares.items() if not shares and gpu not in self._avoided]

    def _gpus_with_room(self) -> list[str]:
        """The GPUs of which a share is free."""
        return [gpu for gpu, shares in self._shares.items() if shares < self.per_gpu and gpu not in self._avoided]


def choose_gpus(wanted: str, present: list[str]) -> list[str]:
    """The GPUs that `--gpus 0,1|all|none` means on a machine with these.

    Raises:
        ConfigError: not a list of indices, or an index that no GPU has where there are GPUs.
    """
    if wanted == "none":
        return []
    if wanted == "all":
        return present
    try:
        indices = [int(text) for text in wanted.split(",")]
    except ValueError as error:
        raise ConfigError(f"--gpus {wanted}: expected indices such as 0,1 or all or none") from error
    if not present:
        print(f"warning: no CUDA device here; --gpus {wanted} takes only runs that need none", file=sys.stderr)
        return []
    if wrong := [index for index in indices if not 0 <= index < len(present)]:
        raise ConfigError(f"--gpus {wanted}: no card {wrong[0]}; this machine has 0 to {len(present) - 1}")
    return [present[index] for index in dict.fromkeys(indices)]

"""Places for runs on this machine: cards by UUID, and places for runs that need no card."""

import os
import sys
from dataclasses import dataclass, field
from threading import Lock

from stages.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """What one run may use: these cards, or one of the places without a card."""

    cards: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Exactly the cards of the slot are visible; none at all where it has none."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.cards)}


@dataclass
class Slots:
    """A pool that hands out slots; `gpus` of a config says how many cards, 0 takes a place without any."""

    cards: list[str]
    cpus: int
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.all_cards = tuple(self.cards)
        self.all_cpus = self.cpus

    @property
    def size(self) -> int:
        return len(self.all_cards) + self.all_cpus

    def fitting(self) -> list[int]:
        """The values of `gpus` that could start now."""
        with self._lock:
            return [*([0] if self.cpus else []), *range(1, len(self.cards) + 1)]

    def possible(self) -> list[int]:
        """The values of `gpus` that could start here at all."""
        return [*([0] if self.all_cpus else []), *range(1, len(self.all_cards) + 1)]

    def take(self, gpus: int) -> Slot:
        with self._lock:
            if gpus == 0:
                self.cpus -= 1
                return Slot()
            taken, self.cards = self.cards[:gpus], self.cards[gpus:]
            return Slot(tuple(taken))

    def give_back(self, slot: Slot) -> None:
        with self._lock:
            if slot.cards:
                self.cards = [card for card in self.all_cards if card in self.cards or card in slot.cards]
            else:
                self.cpus += 1


def choose(wanted: str, present: list[str]) -> list[str]:
    """The cards that `--gpus 0,1|all|none` means on a machine with these.

    Raises:
        ConfigError: not a list of indices, or an index that no card has where there are cards.
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


def present_cards() -> list[str]:
    """UUIDs of the NVIDIA cards that this process may use, in the driver's order; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return _visible(uuids, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _visible(uuids: list[str], allowed: str | None) -> list[str]:
    """What a scheduler such as SLURM left of the machine's cards."""
    if allowed is None:
        return uuids
    words = [word.strip() for word in allowed.split(",") if word.strip()]
    found = [uuids[int(w)] if w.isdigit() and int(w) < len(uuids) else w for w in words]
    return [uuid for uuid in found if uuid in uuids]

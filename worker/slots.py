"""Places for runs on this machine: cards by UUID, whole or in shares, and places for runs that need no card."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

from repro.stages.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """What one run may use: these cards, or one of the places without a card."""

    cards: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Exactly the cards of the slot are visible; none at all where it has none."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.cards)}


class Slots:
    """A pool that hands out slots; `gpus` of a config says how many cards, 0 takes a place without any.

    A run of one card takes a share of it, of which each card has `per_gpu`; a run of more takes whole cards, of which
    nobody has a share. What somebody else uses (`avoid`) is handed out to nobody.
    """

    def __init__(self, cards: Sequence[str], cpus: int, per_gpu: int = 1) -> None:
        self.all_cards, self.all_cpus, self.per_gpu = tuple(cards), cpus, per_gpu
        self._cpus = cpus
        self._shares = dict.fromkeys(self.all_cards, 0)  # of each card, how many are handed out
        self._avoided: frozenset[str] = frozenset()
        self._lock = Lock()

    @property
    def size(self) -> int:
        """The most runs that can be here at once."""
        return len(self.all_cards) * self.per_gpu + self.all_cpus

    @property
    def used(self) -> list[str]:
        """The cards that runs of ours have, or have a share of."""
        with self._lock:
            return [card for card, shares in self._shares.items() if shares]

    @property
    def avoided(self) -> list[str]:
        with self._lock:
            return [card for card in self.all_cards if card in self._avoided]

    def avoid(self, cards: Collection[str]) -> None:
        """From now on these are somebody else's, and no others are."""
        with self._lock:
            self._avoided = frozenset(cards)

    def fitting(self) -> list[int]:
        """The values of `gpus` that could start now."""
        with self._lock:
            most = len(self._whole()) or int(bool(self._with_room()))
            return [*([0] if self._cpus else []), *range(1, most + 1)]

    def within_reach(self) -> int:
        """How many cards one run could get if all of ours had ended."""
        return len(self.all_cards) - len(self.avoided)

    def possible(self) -> list[int]:
        """The values of `gpus` that could start here at all."""
        return [*([0] if self.all_cpus else []), *range(1, len(self.all_cards) + 1)]

    def take(self, gpus: int) -> Slot:
        """A slot for so many cards, which must be one of `fitting`."""
        with self._lock:
            if gpus == 0:
                self._cpus -= 1
                return Slot()
            if gpus == 1:
                card = min(self._with_room(), key=self._shares.__getitem__)  # runs slow each other down: spread them
                self._shares[card] += 1
                return Slot((card,))
            taken = tuple(self._whole()[:gpus])
            self._shares |= dict.fromkeys(taken, self.per_gpu)
            return Slot(taken)

    def give_back(self, slot: Slot) -> None:
        with self._lock:
            if not slot.cards:
                self._cpus += 1
            for card in slot.cards:
                self._shares[card] -= 1 if len(slot.cards) == 1 else self.per_gpu

    def _whole(self) -> list[str]:
        """The cards of which nobody has a share."""
        return [card for card, shares in self._shares.items() if not shares and card not in self._avoided]

    def _with_room(self) -> list[str]:
        return [card for card, shares in self._shares.items() if shares < self.per_gpu and card not in self._avoided]


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

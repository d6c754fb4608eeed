"""Random numbers that are the same in every version of Python and on every machine.

Of its generator Python promises one thing for ever: after the same seed `random()` gives the same sequence. How
`uniform`, `choice`, `sample` and the like make use of it may change with any version, and last year's seed would give
other numbers. So `random()` is all that is used here; the rest is arithmetic that IEEE 754 and Python define exactly.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

BITS = 53  # of each number that `random()` gives: it is an integer over 2 ** 53


class Draws:
    """What is drawn follows from these words and from how much was drawn before.

    The words are spelt and joined: `Draws(seed, i)` is an own sequence for each i.
    """

    def __init__(self, *words: object) -> None:
        self._random = random.Random(" ".join(map(str, words))).random

    def unit(self) -> float:
        """From 0 to 1, 1 excluded."""
        return self._random()

    def below(self, count: int) -> int:
        """0 to `count` - 1, all alike; in whole numbers, since rounding could give `count` itself."""
        return int(self._random() * 2**BITS) * count >> BITS

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """So many of the items, each at most once, in the order in which they were drawn."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(count)]

"""A sequence of points that are spread more evenly than random ones, wherever it is cut off.

Each coordinate goes on by a constant part of the way, modulo 1: by the roots of the primes (Richtmyer 1951, The
Evaluation of Definite Integrals). Roots can't be come near to by simple fractions, so no coordinate soon comes back to
where it was; and IEEE 754 defines them to the last bit. The seed says where the sequence begins.
"""

from collections.abc import Iterator
from itertools import count, islice
from math import sqrt

from repro.scheduler.configs.draws import Draws


class Spread:
    def __init__(self, axes: int, seed: int) -> None:
        source = Draws(seed, 0)  # no trial has this number but the source, which is not proposed
        self._starts = [source.unit() for _ in range(axes)]
        self._steps = [sqrt(prime) % 1 for prime in islice(_primes(), axes)]

    def at(self, number: int) -> list[float]:
        return [(start + number * step) % 1 for start, step in zip(self._starts, self._steps, strict=True)]


def _primes() -> Iterator[int]:
    found = list[int]()
    for number in count(2):
        if all(number % prime for prime in found):
            found.append(number)
            yield number

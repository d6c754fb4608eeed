"""A sequence of points that are spread more evenly than random ones, wherever it is cut off.

Each coordinate goes on by a constant part of the way, modulo 1. The parts are powers of the generalised golden ratio
(Roberts 2018, The Unreasonable Effectiveness of Quasirandom Sequences); the seed says where it begins.
"""

from repro.scheduler.configs.draws import Draws

ROUNDS = 64  # of the fixed point iteration, after which no bit of a double changes


class Spread:
    def __init__(self, axes: int, seed: int) -> None:
        source = Draws(seed, 0)  # no trial has this number but the source, which is not proposed
        self._starts = [source.unit() for _ in range(axes)]
        step = 1 / _ratio(axes)
        self._steps = list[float]()
        for _ in range(axes):
            self._steps.append(step * (self._steps[-1] if self._steps else 1.0))

    def at(self, number: int) -> list[float]:
        return [(start + number * step) % 1 for start, step in zip(self._starts, self._steps, strict=True)]


def _ratio(axes: int) -> float:
    """The root above 1 of x ** (axes + 1) = x + 1, by Newton's method: a power is a product here, so that it is
    rounded alike everywhere."""
    root = 2.0
    for _ in range(ROUNDS):
        power = 1.0
        for _ in range(axes):
            power *= root
        root -= (power * root - root - 1) / ((axes + 1) * power - 1)
    return root

"""Curves of results that were read already: a result never changes, so they are right for ever."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from repro.scheduler.live.curves import Curve

MOST = 8_000_000  # points, of 16 bytes each


class KeptCurves:
    """By the run and the folder of its result, which may be of an equal run; those that were asked for longest ago go
    first. Thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._size, self._lock = most, 0, threading.Lock()
        self._kept: OrderedDict[tuple[str, str], list[Curve]] = OrderedDict()

    def get(self, result: tuple[str, str], read: Callable[[], list[Curve]]) -> list[Curve]:
        """The curves of a result, read if they are not there."""
        with self._lock:
            if result in self._kept:
                self._kept.move_to_end(result)
                return self._kept[result]
        curves = [replace(curve, x=array("d", curve.x), y=array("d", curve.y)) for curve in read()]
        with self._lock:
            if result not in self._kept:
                self._kept[result] = curves
                self._size += _size(curves)
            while self._size > self._most and len(self._kept) > 1:
                self._size -= _size(self._kept.popitem(last=False)[1])
        return curves


def _size(curves: list[Curve]) -> int:
    return sum(len(curve.x) for curve in curves) + 1

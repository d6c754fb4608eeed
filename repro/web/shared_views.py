"""What many viewers look at is read once: a view holds until there is news of the queue, and not for long."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

HOLDS = 1.0  # seconds: ages and leases go on without news
MOST = 50  # views: a long list is a megabyte


class SharedViews:
    """Thread-safe; while one thread makes a view, others that want the same wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._kept: OrderedDict[Hashable, tuple[int, float, Any]] = OrderedDict()

    def get(self, key: Hashable, number: int, make: Callable[[], Any]) -> Any:
        """The view of this key as of this news, made if nobody has."""
        with self._lock:
            lock = self._making.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None or kept[0] != number or time.monotonic() > kept[1]:
                kept = (number, time.monotonic() + HOLDS, make())
                with self._lock:
                    self._kept[key] = kept
                    self._kept.move_to_end(key)
                    while len(self._kept) > MOST:
                        self._making.pop(self._kept.popitem(last=False)[0], None)
        return kept[2]

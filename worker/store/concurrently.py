"""Many transfers at once: of small files many, for they wait for the network; of large ones few, for they fill it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from repro.worker.store.objects import FEW, MANY, SMALL

T = TypeVar("T")
U = TypeVar("U")


def each(items: Sequence[tuple[T, int]], work: Callable[[T, int], U]) -> list[U]:
    """The results of `work` on each (item, size in bytes), in the order given."""
    if len(items) <= 1:
        return [work(*item) for item in items]
    small = [index for index, (_, size) in enumerate(items) if size <= SMALL]
    large = [index for index, (_, size) in enumerate(items) if size > SMALL]
    results: dict[int, U] = {}
    for indices, at_once in ((small, MANY), (large, FEW)):
        if indices:
            with ThreadPoolExecutor(min(at_once, len(indices))) as threads:
                results |= zip(indices, threads.map(lambda index: work(*items[index]), indices), strict=True)
    return [results[index] for index in range(len(items))]

"""Many transfers at once: of small files many, for they wait for the network; of large ones few, for they fill it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from repro.worker.store.interruption import checker
from repro.worker.store.objects import FEW, MANY, SMALL

T = TypeVar("T")
U = TypeVar("U")


def each(items: Sequence[tuple[T, int]], work: Callable[[T, int], U]) -> list[U]:
    """The results of `work` on each (item, size in bytes), in the order given.

    Raises:
        Interrupted: they are not wanted any more.
    """
    context, check = copy_context(), checker()  # the threads' transfers are interrupted as those of this one

    def one(index: int) -> U:
        check()
        return work(*items[index])

    if len(items) <= 1:
        return [one(index) for index in range(len(items))]
    small = [index for index, (_, size) in enumerate(items) if size <= SMALL]
    large = [index for index, (_, size) in enumerate(items) if size > SMALL]
    results: dict[int, U] = {}
    for indices, at_once in ((small, MANY), (large, FEW)):
        if indices:
            with ThreadPoolExecutor(min(at_once, len(indices))) as threads:
                results |= zip(indices, threads.map(lambda index: context.copy().run(one, index), indices), strict=True)
    return [results[index] for index in range(len(items))]

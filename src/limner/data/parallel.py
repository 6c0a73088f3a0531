"""Work on many files at once, with progress.

Threads do, since every decoder in use releases Python's lock while it works: 1.5 to 1.85 times the
speed of one thread on two cores.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PENDING_PER_THREAD = 4
"""Items that are started for each thread before the first result is taken."""
Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iterable, given how many items it has, and gives the same items; it may draw a bar."""
StageProgress = Callable[[str], Progress]
"""Gives the `Progress` of one named stage, such as "checking"."""


def no_progress(_: str) -> Progress:
    """A `StageProgress` that draws nothing."""
    return lambda items, count: items


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = 0
) -> Iterator[Result]:
    """Work on items in threads, and yield the results in the order of the items.

    Only a few items are pending at a time, so memory does not grow with their number.

    Args:
        work: What is done with each.
        items: These.
        threads: How many; 0 takes as many as cores.
    """
    threads = threads or cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= PENDING_PER_THREAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items, of which the next one is made in another thread while this one is used."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        following: Future[Any] = pool.submit(next, items, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, items, end)
            yield item


def with_progress(
    results: Iterator[Result], count: int, progress: Progress | None
) -> Iterator[Result]:
    """Yield the results through `progress`, if there is one; `count` is how many they are."""
    yield from results if progress is None else progress(results, count)

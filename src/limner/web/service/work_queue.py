"""Work that waits its turn: as many threads as cores, a bounded number of requests behind them, and
deadlines.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class QueueFullError(Exception):
    """There is no room; `seconds` is when there may be."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class DeadlineError(Exception):
    """The deadline had passed before its turn came."""


class WorkQueue:
    """`workers` calls at a time and `waiting` behind them; every other is refused at once."""

    def __init__(self, workers: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._workers, self._room = workers, workers + waiting
        self.in_flight = 0
        self._usual_s = 0.5

    def check(self) -> None:
        """Raises FullError where a call would be refused now."""
        if self.in_flight >= self._room:
            raise QueueFullError(max(1, round(self._usual_s * self.in_flight / self._workers)))

    async def submit(self, work: Callable[[], Result], deadline: float) -> tuple[Result, float]:
        """The result, and how many seconds it waited. Raises FullError, and LateError where
        `deadline` (of time.monotonic) passes before its turn.
        """
        self.check()
        asked = time.monotonic()
        if asked > deadline:
            raise DeadlineError
        self.in_flight += 1

        def begin() -> tuple[Result, float]:
            began = time.monotonic()
            result = work()
            self._usual_s += 0.1 * (time.monotonic() - began - self._usual_s)
            return result, began - asked

        turn = self._pool.submit(begin)
        future = asyncio.wrap_future(turn)
        future.add_done_callback(self._leave)
        try:
            done, _ = await asyncio.wait({future}, timeout=deadline - asked)
        except asyncio.CancelledError:
            turn.cancel()
            raise
        if not done and turn.cancel():
            # Which what has begun cannot be
            await asyncio.wait({future})
            raise DeadlineError
        return await future

    def _leave(self, future: "asyncio.Future[Any]") -> None:
        self.in_flight -= 1
        if not future.cancelled():
            # A caller that went away never asks for it
            future.exception()

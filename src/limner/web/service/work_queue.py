"""WorkQueue: some threads, a bounded number of calls that wait for them, and deadlines."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")
FIRST_GUESS_S = 0.5
"""How long a call is expected to take before any was measured."""
SMOOTHING = 0.1
"""The weight of the last call in the mean time of a call."""


class QueueFullError(Exception):
    """There is no room; `retry_after_s` is when there may be."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class DeadlineError(Exception):
    """The deadline passed before the call started."""


class WorkQueue:
    """Runs `workers` calls at a time, lets `waiting` wait, and refuses all others at once."""

    def __init__(self, workers: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._workers, self._capacity = workers, workers + waiting
        self.in_flight = 0
        """How many calls wait or run."""
        self._mean_s = FIRST_GUESS_S

    def check(self) -> None:
        """Raise QueueFullError where a call would be refused now."""
        if self.in_flight >= self._capacity:
            raise QueueFullError(max(1, round(self._mean_s * self.in_flight / self._workers)))

    async def submit(self, work: Callable[[], Result], deadline: float) -> tuple[Result, float]:
        """Run a call; return its result and how many seconds it waited.

        Raises QueueFullError where there is no room, and DeadlineError where the call has not
        started by `deadline`, a time of time.monotonic.
        """
        self.check()
        submitted_s = time.monotonic()
        if submitted_s > deadline:
            raise DeadlineError
        self.in_flight += 1

        def run() -> tuple[Result, float]:
            start_s = time.monotonic()
            result = work()
            self._mean_s += SMOOTHING * (time.monotonic() - start_s - self._mean_s)
            return result, start_s - submitted_s

        call = self._pool.submit(run)
        future = asyncio.wrap_future(call)
        future.add_done_callback(self._leave)
        try:
            done, _ = await asyncio.wait({future}, timeout=deadline - submitted_s)
        except asyncio.CancelledError:
            call.cancel()
            raise
        # A call that has started cannot be cancelled
        if not done and call.cancel():
            await asyncio.wait({future})
            raise DeadlineError
        return await future

    def _leave(self, future: "asyncio.Future[Any]") -> None:
        self.in_flight -= 1
        if not future.cancelled():
            # Nobody asks for the exception where the caller went away
            future.exception()

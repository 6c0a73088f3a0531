"""A request's turn: its body is read, its work waits in the queue, and what goes wrong on the way is an answer."""

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Request

from limner.web.intake import Held, Limits, ProblemError
from limner.web.metrics import Metrics
from limner.web.queue import FullError, LateError, Queue

Timeout = Annotated[int | None, Header(alias="X-Timeout-Ms", ge=100, le=600_000, description="give up where its turn has not come by then")]


class Turns:
    """Of all routes that work on bodies."""

    def __init__(self, queue: Queue, limits: Limits, metrics: Metrics) -> None:
        self._queue, self._limits, self._metrics, self._held = queue, limits, metrics, Held(limits)

    async def take(self, request: Request, timeout_ms: int | None, work: Callable[[bytes], Any]) -> tuple[Any, float]:
        """What `work` makes of the request's body when its turn comes, and how long it waited."""
        deadline = time.monotonic() + (timeout_ms / 1000 if timeout_ms else self._limits.deadline_s)
        try:
            self._queue.check()
            async with self._held.body(request) as body:
                result, waited = await self._queue.call(lambda: work(body), deadline)
        except FullError as full:
            raise ProblemError(503, "there is no room for another request now. Come again later.", {"Retry-After": str(full.seconds)}) from None
        except LateError:
            raise ProblemError(504, "the request's turn did not come in time.", {"Retry-After": "1"}) from None
        self._metrics.stages.labels("wait").observe(waited)
        return result, waited

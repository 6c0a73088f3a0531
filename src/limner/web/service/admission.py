"""A request's turn: its body is read, its work waits in the queue, and what goes wrong on the way
is an answer.
"""

import re
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.types import Scope

from limner.web.limits import BodyReader, Limits, ProblemError
from limner.web.metrics import Metrics
from limner.web.service.work_queue import DeadlineError, QueueFullError, WorkQueue

Timeout = Annotated[
    int | None,
    Header(
        alias="X-Timeout-Ms",
        ge=100,
        le=600_000,
        description="give up where its turn has not come by then",
    ),
]


WORK = re.compile(r"/v1/segment|/v2/models/[^/]+(/versions/[^/]+)?/infer")
"""What takes turns, by its path."""


class Admission:
    """Of all routes that work on bodies."""

    def __init__(self, queue: WorkQueue, limits: Limits, metrics: Metrics) -> None:
        self._queue, self._limits, self._metrics, self._held = (
            queue,
            limits,
            metrics,
            BodyReader(limits),
        )

    def reject_if_full(self, scope: Scope) -> ProblemError | None:
        """Why a request is not even looked at: it wants a turn, and there is no room."""
        if scope["method"] != "POST" or not WORK.fullmatch(scope["path"]):
            return None
        try:
            self._queue.check()
        except QueueFullError as full:
            return _no_room(full)
        return None

    async def run(
        self,
        request: Request,
        timeout_ms: int | None,
        work: Callable[[bytes], Any],
        most_bytes: int | None = None,
    ) -> tuple[Any, float]:
        """What `work` makes of the request's body, of so many bytes at most, when its turn comes,
        and how long it waited.
        """
        deadline = time.monotonic() + (timeout_ms / 1000 if timeout_ms else self._limits.deadline_s)
        try:
            async with self._held.body(request, most_bytes) as body:
                result, waited = await self._queue.submit(lambda: work(body), deadline)
        except QueueFullError as full:
            raise _no_room(full) from None
        except DeadlineError:
            raise ProblemError(
                504, "the request's turn did not come in time.", {"Retry-After": "1"}
            ) from None
        self._metrics.stages.labels("wait").observe(waited)
        return result, waited


def _no_room(full: QueueFullError) -> ProblemError:
    return ProblemError(
        503,
        "there is no room for another request now. Come again later.",
        {"Retry-After": str(full.seconds)},
    )

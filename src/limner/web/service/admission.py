"""Admission: a request's body is read, and its work waits in the queue, within limits."""

import re
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header, Request
from starlette.types import Scope

from limner.web.content_encoding import decompress
from limner.web.errors import ProblemError
from limner.web.limits import BodyReader, Limits
from limner.web.metrics import Metrics
from limner.web.middleware import route_path
from limner.web.service.work_queue import DeadlineError, QueueFullError, WorkQueue

Result = TypeVar("Result")
TimeoutMs = Annotated[
    int | None,
    Header(
        alias="X-Timeout-Ms",
        ge=100,
        le=600_000,
        description="give up where its turn has not come by then",
    ),
]
QUEUED_PATHS = re.compile(r"/v1/(segment|preview)|/v2/models/[^/]+(/versions/[^/]+)?/infer")
"""The routes whose work goes through the queue."""


class Admission:
    """Admits requests with a body to the work queue."""

    def __init__(self, queue: WorkQueue, limits: Limits, metrics: Metrics) -> None:
        self._queue, self._limits, self._metrics = queue, limits, metrics
        self._bodies = BodyReader(limits)

    def reject_if_full(self, scope: Scope) -> ProblemError | None:
        """The refusal of a request before routing, where the queue has no room for it."""
        if scope["method"] != "POST" or not QUEUED_PATHS.fullmatch(route_path(scope)):
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
        work: Callable[[bytes], Result],
        most_bytes: int | None = None,
        advice: str = "Send a smaller image.",
    ) -> tuple[Result, float]:
        """Call `work` with the request's body in the queue; return its result and the wait in s.

        The body is decompressed before. `advice` says what to do with one that is too large.

        Raises ProblemError for a body beyond the limits or `most_bytes`, one that is compressed in
        another way than gzip and deflate, a full queue, and a wait beyond the timeout.
        """
        encoding = request.headers.get("content-encoding", "")
        limit = min(most_bytes or self._limits.body_bytes, self._limits.body_bytes)
        wait_s = timeout_ms / 1000 if timeout_ms else self._limits.deadline_s
        deadline = time.monotonic() + wait_s
        try:
            async with self._bodies.body(request, most_bytes, advice) as body:
                result, waited_s = await self._queue.submit(
                    lambda: work(decompress(body, encoding, limit)), deadline
                )
        except QueueFullError as full:
            raise _no_room(full) from None
        except DeadlineError:
            raise ProblemError(
                504, "the request's turn did not come in time.", {"Retry-After": "1"}
            ) from None
        self._metrics.stages.labels("wait").observe(waited_s)
        return result, waited_s


def _no_room(full: QueueFullError) -> ProblemError:
    return ProblemError(
        503,
        "there is no room for another request now. Come again later.",
        {"Retry-After": str(full.retry_after_s)},
    )

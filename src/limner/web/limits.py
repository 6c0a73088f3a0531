"""Limits of a request's body, which are checked before anything is decoded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.requests import ClientDisconnect

from limner.web.errors import ProblemError

CLOSE = {"Connection": "close"}
"""The header of an answer after which the rest of the body is not read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for."""

    body_bytes: int = 50_000_000
    pixels: int = 50_000_000
    body_s: float = 15.0
    """How long a body may take to arrive."""
    deadline_s: float = 30.0
    """How long a request may wait in the queue, unless the caller says otherwise."""
    memory_bytes: int = 1_000_000_000
    """Of all bodies that are in memory at the same time."""


class _TooLargeError(Exception):
    """A body beyond its limit."""


class BodyReader:
    """Reads bodies within limits, and counts the bytes of all that are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._bytes = limits, 0

    @asynccontextmanager
    async def body(
        self, request: Request, most_bytes: int | None = None, advice: str = "Send a smaller image."
    ) -> AsyncIterator[bytes]:
        """A request's body, in memory until the block ends. `most_bytes` may lower the limit.

        `advice` says what to do with a larger one.

        Raises ProblemError where the body is empty, larger than the limit or too slow, or there is
        no memory for it.
        """
        limit = self._limits.body_bytes
        limit = min(most_bytes or limit, limit)
        try:
            body = await self._read(request, limit)
        except _TooLargeError:
            message = f"the body has more than {limit:,} bytes. {advice}"
            raise ProblemError(413, message, CLOSE) from None
        try:
            yield body
        finally:
            self._bytes -= len(body)

    async def _read(self, request: Request, most_bytes: int) -> bytes:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most_bytes:
            raise _TooLargeError
        parts = list[bytes]()
        try:
            async with asyncio.timeout(self._limits.body_s):
                await self._receive(request, parts, most_bytes)
        except BaseException as error:
            self._bytes -= sum(map(len, parts))
            if isinstance(error, ClientDisconnect):
                raise ProblemError(400, "the body did not come whole.", CLOSE) from None
            if isinstance(error, TimeoutError):
                message = f"the body did not come in {self._limits.body_s:g} seconds."
                raise ProblemError(408, message, CLOSE) from None
            raise
        if not any(parts):
            raise ProblemError(
                422,
                "the body is empty. Send the image as it is, for example with curl "
                "--data-binary @photo.jpg.",
            )
        return b"".join(parts)

    async def _receive(self, request: Request, parts: list[bytes], most_bytes: int) -> None:
        """Append the parts of a body as they come, and count them."""
        size = 0
        async for part in request.stream():
            size += len(part)
            self._bytes += len(part)
            parts.append(part)
            if size > most_bytes:
                raise _TooLargeError
            if self._bytes > self._limits.memory_bytes:
                raise ProblemError(
                    503,
                    "there is no room for another body now. Come again later.",
                    {"Retry-After": "1", **CLOSE},
                )

"""What a request may send: limits that are checked before anything is decoded, and every refusal as
one kind of answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for; all of it is checked before anything is decoded."""

    body_bytes: int = 50_000_000
    pixels: int = 50_000_000
    body_s: float = 15.0
    """In which a body must have come."""
    deadline_s: float = 30.0
    """In which its turn must have come, where the caller names no other."""
    memory_bytes: int = 1_000_000_000
    """Of all bodies that are held at once."""


class ProblemError(Exception):
    """An answer that is an error; `more` is what a program may want to know of it."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.more = (
            status,
            message,
            headers or {},
            more or {},
        )


class Failure(BaseModel):
    """What went wrong, what was expected, how to mend it."""

    error: str
    request_id: str


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in {
        400: "malformed, or a Host that is not answered to",
        401: "no token",
        403: "another origin",
        404: "no such model",
        406: "neither PNG nor JSON is wanted",
        408: "the body came too slowly",
        413: "more bytes or pixels than are taken",
        415: "no image",
        422: "an image or an option that cannot be used",
        503: "no room: come again after Retry-After seconds",
        504: "its turn did not come in time",
    }.items()
}


class BodyReader:
    """Bodies that are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._bytes = limits, 0

    @asynccontextmanager
    async def body(self, request: Request, most: int | None = None) -> AsyncIterator[bytes]:
        """A request's body, for as long as it is needed; of so many bytes where that is less than
        the limits'.
        """
        body = await self._read(
            request, min(most or self._limits.body_bytes, self._limits.body_bytes)
        )
        try:
            yield body
        finally:
            self._bytes -= len(body)

    async def _read(self, request: Request, most: int) -> bytes:
        """The body. Raises ProblemError where it is larger, or comes more slowly, than the limits,
        or there is no room for it.
        """
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most:
            raise ProblemError(
                413,
                f"the body has more than {most:,} bytes. Send a smaller image.",
                {"Connection": "close"},
            )
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for part in request.stream():
                    size += len(part)
                    self._bytes += len(part)
                    parts.append(part)
                    if size > most:
                        raise ProblemError(
                            413,
                            f"the body has more than {most:,} bytes. Send a smaller image.",
                            {"Connection": "close"},
                        )
                    if self._bytes > self._limits.memory_bytes:
                        raise ProblemError(
                            503,
                            "there is no room for another body now. Come again later.",
                            {"Retry-After": "1", "Connection": "close"},
                        )
        except BaseException as error:
            self._bytes -= size
            if isinstance(error, ClientDisconnect):
                raise ProblemError(
                    400, "the body did not come whole.", {"Connection": "close"}
                ) from None
            if isinstance(error, TimeoutError):
                raise ProblemError(
                    408,
                    f"the body did not come in {self._limits.body_s:g} seconds.",
                    {"Connection": "close"},
                ) from None
            raise
        if not size:
            raise ProblemError(
                422,
                (
                    "the body is empty. Send the image as it is, for example with curl "
                    "--data-binary @photo.jpg."
                ),
            )
        return b"".join(parts)

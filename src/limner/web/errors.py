"""Errors as answers: what a handler raises, and the one JSON body that every error has."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from limner.errors import LimnerError


class ProblemError(Exception):
    """An error with its HTTP status; `details` are more keys of the JSON body."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers, self.details = headers or {}, details or {}


class Failure(BaseModel):
    """What happened, what was expected, and how to mend it."""

    error: str
    request_id: str


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": description}
    for status, description in {
        400: "malformed, or a Host that is not answered to",
        401: "no token",
        403: "another origin",
        404: "no such model",
        406: "neither PNG nor JSON is wanted",
        408: "the body came too slowly",
        413: "more bytes or pixels than are taken",
        415: "no image",
        422: "an image or an option that cannot be used",
        501: "a package is missing here",
        503: "no room: come again after Retry-After seconds",
        504: "its turn did not come in time",
    }.items()
}
"""The statuses of the service, for its OpenAPI document."""


def error_response(request_id: str, problem: ProblemError) -> JSONResponse:
    """The answer to a problem."""
    body = {"error": problem.message, "request_id": request_id, **problem.details}
    return JSONResponse(body, problem.status, problem.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Answer everything that handlers raise with the same JSON body."""
    for kind in (ProblemError, LimnerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)


# A coroutine, since a plain function would wait for one of the threads, which work on images
async def _answer(request: Request, error: Exception) -> Response:
    return error_response(request.state.id, _problem_of(error))


def _problem_of(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case LimnerError():
            return ProblemError(422, str(error))
        case HTTPException():
            return ProblemError(error.status_code, str(error.detail), dict(error.headers or {}))
        case RequestValidationError():
            return ProblemError(422, _describe(error))
    raise error


def _describe(error: RequestValidationError) -> str:
    """A request's invalid values, each with its name."""
    problems = (
        f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}"
        for problem in error.errors()
    )
    return "; ".join(problems) + "."

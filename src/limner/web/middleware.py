"""What stands before every route: who may call, what is counted and logged, and how errors are
answered.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.errors import LimnerError
from limner.web.auth import Access, cookie_name
from limner.web.limits import ProblemError
from limner.web.metrics import Metrics

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
log = logging.getLogger("limner.web")


def add_middleware(
    app: FastAPI,
    access: Access,
    metrics: Metrics,
    shed: Callable[[Scope], ProblemError | None] = lambda scope: None,
) -> None:
    """Put `Guard` before all that an application has, and give its errors one shape. `shed` says at
    once what there is no room for.
    """
    for kind in (ProblemError, LimnerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _failed)
    app.add_middleware(
        GuardMiddleware,
        access=access,
        metrics=metrics,
        shed=shed,
        known={route.path for route in app.routes if hasattr(route, "path")},
    )


class GuardMiddleware:
    """Before all else: who may call; then a request id, headers that harden, a line in the log, and
    counts.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        metrics: Metrics,
        shed: Callable[[Scope], ProblemError | None],
        known: set[str],
    ) -> None:
        self._app, self._access, self._metrics, self._shed, self._known = (
            app,
            access,
            metrics,
            shed,
            known,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # A web socket, of which there is none here
            await send({"type": "websocket.close", "code": 1008})
            return
        began, headers = time.monotonic(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = (
            given
            if 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum()
            else secrets.token_hex(8)
        )
        scope.setdefault("state", {})["id"] = request_id
        status, begun = 500, False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                found = MutableHeaders(scope=message)
                for name, value in (*SECURITY_HEADERS.items(), ("X-Request-Id", request_id)):
                    found[name] = value
            await send(message)

        try:
            await self._guarded(scope, receive, answer, headers)
        except Exception:
            log.exception("request %s", request_id)
            if not begun:
                told = {
                    "error": "something went wrong here. The server's log says what.",
                    "request_id": request_id,
                }
                await JSONResponse(told, 500)(scope, receive, answer)
        finally:
            route = getattr(
                scope.get("route"),
                "path",
                scope["path"] if scope["path"] in self._known else "other",
            )
            seconds = time.monotonic() - began
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            log.info(
                json.dumps(
                    {
                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                        "id": request_id,
                        "method": scope["method"][:10],
                        "route": route,
                        "status": status,
                        "ms": round(seconds * 1000, 1),
                    }
                )
            )

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        token = (
            parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if scope["path"] == "/" and scope["method"] == "GET"
            else ""
        )
        refusal = self._access.refusal(scope["method"], scope["path"], headers)
        if (
            token
            and self._access.name_of_token(token) is not None
            and (refusal is None or refusal.status == 401)
        ):
            response: Response = RedirectResponse(
                "/",
                303,
                # So that the address, which is kept and sent on, holds no token
            )
            # lax, since a strict one is not sent where a link in a mail was followed; what changes
            # anything is guarded by its Origin
            response.set_cookie(
                cookie_name(headers), quote(token, safe=""), httponly=True, samesite="lax"
            )
            await response(scope, receive, send)
        elif refusal is not None:
            more = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
            response = JSONResponse(
                {"error": refusal.message, "request_id": scope["state"]["id"]},
                refusal.status,
                {"Connection": "close", **more},
            )
            await response(scope, receive, send)
        elif full := self._shed(
            scope
            # Before its route is looked for: when many come at once, each waits for those before it
        ):
            response = JSONResponse(
                {"error": full.message, "request_id": scope["state"]["id"]},
                full.status,
                full.headers,
            )
            await response(scope, receive, send)
        else:
            scope["state"]["caller"] = self._access.caller(headers)
            await self._app(scope, receive, send)


async def _failed(request: Request, error: Exception) -> Response:
    """The answer to what was raised; a coroutine, since what is none would wait for a thread, of
    which those that work leave little.
    """
    match error:
        case ProblemError():
            return _failure(request, error.status, error.message, error.headers, error.more)
        case LimnerError():
            return _failure(request, 422, str(error))
        case HTTPException():
            return _failure(request, error.status_code, str(error.detail), error.headers)
        case RequestValidationError():
            return _failure(request, 422, _spelled(error))
    raise error


def _failure(
    request: Request,
    status: int,
    message: str,
    headers: Any = None,
    more: dict[str, Any] | None = None,
) -> Response:
    return JSONResponse(
        {"error": message, "request_id": request.state.id, **(more or {})}, status, headers
    )


def _spelled(error: RequestValidationError) -> str:
    return (
        "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}"
            for problem in error.errors()
        )
        + "."
    )

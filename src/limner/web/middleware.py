"""What surrounds every route: access, security headers, a request id, the log and the metrics."""

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.web.auth import Access, cookie_name
from limner.web.errors import ProblemError, add_error_handlers, error_response
from limner.web.metrics import Metrics

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
STATED_BY_ROUTES = frozenset({"Content-Security-Policy", "X-Frame-Options"})
"""Headers that an answer may have of its own, such as of a page that another one shows inside."""
log = logging.getLogger("limner.web")

Shed = Callable[[Scope], ProblemError | None]
"""Decides before routing whether there is room for a request; gives the refusal."""


def add_middleware(
    app: FastAPI, access: Access, metrics: Metrics, shed: Shed = lambda scope: None
) -> None:
    """Put `GuardMiddleware` before an application, and give its errors one shape.

    Call it when the application has all its routes.
    """
    add_error_handlers(app)
    app.add_middleware(
        GuardMiddleware,
        access=access,
        metrics=metrics,
        shed=shed,
        routes=set(_paths(app.routes)),
    )


def _paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """The paths of routes, and of those in included routers."""
    for route in routes:
        # FastAPI keeps an included router as one route
        if router := getattr(route, "original_router", None):
            yield from _paths(router.routes)
        elif path := getattr(route, "path", None):
            yield path


class Exchange:
    """One request and its answer. `send` adds the headers that every answer has, and leaves out
    the body of an answer to HEAD.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers, self.method = Headers(scope=scope), scope["method"]
        self.request_id = _request_id(self.headers.get("x-request-id", ""))
        self.status, self.started = 500, False
        self._send, self._start_s = send, time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in (*SECURITY_HEADERS.items(), ("X-Request-Id", self.request_id)):
                if name not in STATED_BY_ROUTES or name not in headers:
                    headers[name] = value
        elif self.method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._start_s


class GuardMiddleware:
    """Checks who calls; then adds a request id and security headers, logs and counts.

    `routes` are the paths of the application, by which requests are counted that reach no route.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        metrics: Metrics,
        shed: Shed,
        routes: set[str],
    ) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self._shed, self._routes = shed, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._handle(_as_get(scope), receive, Exchange(scope, send))
        else:
            # There are no web sockets here
            await send({"type": "websocket.close", "code": 1008})

    async def _handle(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        scope.setdefault("state", {})["id"] = exchange.request_id
        try:
            if response := self._refuse(scope, exchange):
                await response(scope, receive, exchange.send)
            else:
                scope["state"]["caller"] = self._access.caller(exchange.headers)
                await self._app(scope, receive, exchange.send)
        except Exception:
            log.exception("request %s", exchange.request_id)
            if not exchange.started:
                problem = ProblemError(
                    500, "something went wrong here. The server's log says what."
                )
                response = error_response(exchange.request_id, problem)
                await response(scope, receive, exchange.send)
        finally:
            self._record(scope, exchange)

    def _refuse(self, scope: Scope, exchange: Exchange) -> Response | None:
        """The answer to a request that does not reach the application."""
        method, path, headers = scope["method"], route_path(scope), exchange.headers
        refusal = self._access.refusal(method, path, headers)
        if (path, method) == ("/", "GET") and (refusal is None or refusal.status == 401):
            token = QueryParams(scope["query_string"]).get("token", "")
            if token and self._access.name_of_token(token) is not None:
                return _sign_in(token, headers)
        if refusal is not None:
            authenticate = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
            problem = ProblemError(
                refusal.status, refusal.message, {"Connection": "close", **authenticate}
            )
            return error_response(exchange.request_id, problem)
        # Before routing: when many requests come at once, each waits for those before it
        no_room = self._shed(scope)
        return error_response(exchange.request_id, no_room) if no_room else None

    def _record(self, scope: Scope, exchange: Exchange) -> None:
        """Count a request, and log it in one line."""
        path = route_path(scope)
        path = path if path in self._routes else "other"
        route = getattr(scope.get("route"), "path", path)
        seconds = exchange.seconds()
        self._metrics.requests.labels(route, str(exchange.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": exchange.request_id,
            "method": exchange.method[:10],
            "route": route,
            "status": exchange.status,
            "ms": round(seconds * 1000, 1),
        }
        log.info(json.dumps(line))


def route_path(scope: Scope) -> str:
    """The path of a request below the path that the application has behind a proxy.

    A proxy may leave that path in the address, or take it out.
    """
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    is_below = root and path.startswith(f"{root}/")
    return path[len(root) :] if is_below else path


def _as_get(scope: Scope) -> Scope:
    """A request for the head of an answer as one for all of it (RFC 9110, 9.3.2)."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _request_id(proposed: str) -> str:
    """The caller's id for a request, if it is short and plain, else a random one."""
    plain = proposed.isascii() and proposed.replace("-", "").isalnum()
    return proposed if 0 < len(proposed) <= 64 and plain else secrets.token_hex(8)


def _sign_in(token: str, headers: Headers) -> Response:
    """Keep the token in a cookie, and go on to an address without it, which may be shared."""
    response = RedirectResponse("./", 303)
    # lax, since a strict cookie is not sent after a link in a mail; requests that change anything
    # are checked by their Origin
    response.set_cookie(cookie_name(headers), quote(token, safe=""), httponly=True, samesite="lax")
    return response

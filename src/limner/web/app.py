"""create_app: what is served, behind one guard; and the server that runs it."""

import json
import logging
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import jinja2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import limner
from limner.errors import LimnerError
from limner.web.access import COOKIE, Access
from limner.web.api import Limits, Metrics, ProblemError, routes
from limner.web.queue import Queue
from limner.web.shelf import Shelf

STATIC = {"segment.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
"""Looked up by name; nothing is joined into a path."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
log = logging.getLogger("limner.web")


def create_app(shelf: Shelf, queue: Queue, access: Access | None = None, limits: Limits | None = None) -> FastAPI:
    """The service over some models. Every request goes through `Guard` first."""
    app = FastAPI(
        title="limner",
        version=limner.__version__,
        description="Images in, masks out.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    metrics = Metrics(queue)
    app.include_router(routes(shelf, queue, limits or Limits(), metrics))
    app.add_exception_handler(ProblemError, lambda request, error: _failure(request, error.status, error.message, error.headers))
    app.add_exception_handler(LimnerError, lambda request, error: _failure(request, 422, str(error)))
    app.add_exception_handler(HTTPException, lambda request, error: _failure(request, error.status_code, str(error.detail), error.headers))
    app.add_exception_handler(RequestValidationError, lambda request, error: _failure(request, 422, _spelled(error)))
    app.add_exception_handler(Exception, lambda request, error: _failure(request, 500, "something went wrong here. The server's log says what."))

    pages = jinja2.Environment(loader=jinja2.PackageLoader("limner.web", "pages"), autoescape=True)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(pages.get_template("segment.html").render(names=shelf.names))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return HTMLResponse(pages.get_template("docs.html").render(schema=app.openapi(), base=f"http://{request.headers['host']}/"))

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise ProblemError(404, "there is no such file.")
        return Response((files("limner.web") / "pages" / name).read_text(encoding="utf-8"), media_type=STATIC[name])

    app.add_middleware(Guard, access=access or Access(), metrics=metrics, known={route.path for route in app.routes if hasattr(route, "path")})
    return app


class Guard:
    """Before all else: who may call; then a request id, headers that harden, a line in the log, and counts."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, known: set[str]) -> None:
        self._app, self._access, self._metrics, self._known = app, access, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket, of which there is none here
            await send({"type": "websocket.close", "code": 1008})
            return
        began, headers = time.monotonic(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum() else secrets.token_hex(8)
        scope.setdefault("state", {})["id"] = request_id
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found = MutableHeaders(scope=message)
                for name, value in (*HEADERS.items(), ("X-Request-Id", request_id)):
                    found[name] = value
            await send(message)

        try:
            await self._guarded(scope, receive, answer, headers)
        finally:
            route = getattr(scope.get("route"), "path", scope["path"] if scope["path"] in self._known else "other")
            seconds = time.monotonic() - began
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            log.info(
                json.dumps(
                    {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "id": request_id, "method": scope["method"][:10], "route": route,
                     "status": status, "ms": round(seconds * 1000, 1)}
                )
            )  # fmt: skip

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if scope["path"] == "/" and scope["method"] == "GET" else ""
        refusal = self._access.refusal(scope["method"], scope["path"], headers)
        if token and self._access.is_token(token) and (refusal is None or refusal.status == 401):
            response: Response = RedirectResponse("/", 303)  # so that the address, which is kept and sent on, holds no token
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            await response(scope, receive, send)
        elif refusal is not None:
            more = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
            response = JSONResponse({"error": refusal.message, "request_id": scope["state"]["id"]}, refusal.status, {"Connection": "close", **more})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _failure(request: Request, status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message, "request_id": request.state.id}, status, headers)


def _spelled(error: RequestValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}" for problem in error.errors()) + "."


def serve(app: FastAPI, host: str, port: int, announce: Callable[[str], None], reload: Sequence[Callable[[], object]] = (), head_s: float = 15.0) -> None:
    """Run until SIGINT or SIGTERM, then end what was begun. SIGHUP calls `reload`. `head_s` is how long the head of a request may take."""
    import asyncio
    import signal

    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes connections on which the head of a request is begun, or none at all, and not complete in time; idle ones uvicorn closes."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait()
            else:
                self._rest()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._late = self._late or self.loop.call_later(head_s, self.transport.close)

        def _rest(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once all is ended, and the exit status is to be 0
    sys.setswitchinterval(0.0005)  # of Python's lock; at its usual 5 ms eight clients got 32.7 masks a second on two cores, so 36.6
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stderr))
    config = uvicorn.Config(
        app, host=host, port=port, http=Impatient, ws="none", access_log=False, log_level="warning", server_header=False, proxy_headers=False,
        timeout_keep_alive=int(head_s), timeout_graceful_shutdown=60, lifespan="off",
    )  # fmt: skip

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()[1]
                announce(f"http://{f'[{host}]' if ':' in host else host}:{bound}/")
                if reload and hasattr(signal, "SIGHUP"):
                    loop = asyncio.get_running_loop()
                    loop.add_signal_handler(signal.SIGHUP, lambda: [loop.run_in_executor(None, one) for one in reload])

    Announced(config).run()

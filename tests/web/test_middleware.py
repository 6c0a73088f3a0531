import asyncio
import inspect

import httpx2 as httpx
from fastapi import APIRouter, FastAPI
from prometheus_client import generate_latest

from limner.web.auth import Access
from limner.web.metrics import Metrics
from limner.web.middleware import SECURITY_HEADERS, add_middleware

TOKEN = "0123456789abcdef"


def get(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(send())


def test_an_unexpected_error_is_answered_with_the_security_headers() -> None:
    app = FastAPI()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the inside")

    add_middleware(app, Access(), Metrics())
    answer = get(app, "/broken", **{"X-Request-Id": "abc"})
    assert (
        answer.status_code == 500
        and answer.json()["request_id"] == answer.headers["x-request-id"] == "abc"
    )
    assert (
        "secret" not in answer.text
        and SECURITY_HEADERS.items()
        <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()
    )


def test_a_refusal_waits_for_no_thread() -> None:
    app = FastAPI()
    add_middleware(app, Access(), Metrics())
    assert all(inspect.iscoroutinefunction(handler) for handler in app.exception_handlers.values())


def test_refused_requests_are_counted_under_their_route() -> None:
    app, router, metrics = FastAPI(), APIRouter(prefix="/api"), Metrics()

    @router.get("/review")
    async def review() -> None: ...

    app.include_router(router)
    add_middleware(app, Access(tokens={"anna": TOKEN}), metrics)
    for path in ("/api/review", "/nothing"):
        assert get(app, path).status_code == 401
    counts = generate_latest(metrics.registry).decode()
    for route in ("/api/review", "other"):
        assert f'limner_requests_total{{route="{route}",status="401"}} 1.0' in counts


def test_the_first_visit_with_a_token_sets_a_cookie_that_signs_in() -> None:
    app = FastAPI()

    @app.get("/")
    async def index() -> str:
        return "signed in"

    add_middleware(app, Access(tokens={"anna": f'a token; "quoted" {TOKEN}'}), Metrics())
    sign_in = get(app, f"/?token=a+token%3B+%22quoted%22+{TOKEN}")
    assert (sign_in.status_code, sign_in.headers["location"]) == (303, "./")
    cookie = sign_in.headers["set-cookie"].split(";")[0]
    assert get(app, "/", Cookie=f"other=1; {cookie}").json() == "signed in"
    assert get(app, "/", Cookie=cookie[:-1]).status_code == 401

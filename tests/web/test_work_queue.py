import asyncio
import threading
import time

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from limner.web.auth import Access
from limner.web.metrics import Metrics
from limner.web.middleware import SECURITY_HEADERS, add_middleware
from limner.web.service.work_queue import DeadlineError, WorkQueue


def test_a_call_beyond_its_deadline_is_refused_then_and_makes_room() -> None:
    queue, done, free = WorkQueue(1, 1), list[str](), threading.Event()

    async def both() -> float:
        first = asyncio.create_task(queue.submit(free.wait, time.monotonic() + 99))
        await asyncio.sleep(0.1)
        start_s = time.monotonic()
        with pytest.raises(DeadlineError):
            await queue.submit(lambda: done.append("late"), start_s + 0.1)
        waited_s = time.monotonic() - start_s
        assert queue.in_flight == 1
        free.set()
        await first
        await queue.submit(lambda: done.append("in time"), time.monotonic() + 99)
        return waited_s

    assert asyncio.run(both()) >= 0.1 and done == ["in time"]


def test_a_call_after_its_deadline_is_not_begun() -> None:
    done = list[str]()
    with pytest.raises(DeadlineError):
        asyncio.run(WorkQueue(1, 1).submit(lambda: done.append("late"), time.monotonic() - 1))
    assert not done


def test_a_call_that_has_begun_is_finished_whatever_its_deadline() -> None:
    deadline = time.monotonic() + 1

    def work() -> str:
        time.sleep(max(0.0, deadline - time.monotonic()) + 0.1)
        return "done"

    async def slow() -> tuple[str, float]:
        return await WorkQueue(1, 0).submit(work, deadline)

    assert asyncio.run(slow())[0] == "done"


def test_an_unexpected_error_is_answered_with_the_security_headers() -> None:
    app = FastAPI()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the inside")

    add_middleware(app, Access(), Metrics())

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return await client.get("/broken", headers={"X-Request-Id": "abc"})

    answer = asyncio.run(ask())
    assert (
        answer.status_code == 500
        and answer.json()["request_id"] == answer.headers["x-request-id"] == "abc"
    )
    assert (
        "secret" not in answer.text
        and SECURITY_HEADERS.items()
        <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()
    )

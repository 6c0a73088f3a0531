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


def test_whose_turn_does_not_come_in_time_is_told_then_and_makes_room() -> None:
    queue, done, free = WorkQueue(1, 1), list[str](), threading.Event()

    async def both() -> float:
        first = asyncio.create_task(queue.submit(free.wait, time.monotonic() + 99))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            await queue.submit(lambda: done.append("late"), began + 0.1)
        waited = time.monotonic() - began
        assert queue.in_flight == 1
        free.set()
        await first
        await queue.submit(lambda: done.append("in time"), time.monotonic() + 99)
        return waited

    assert asyncio.run(both()) >= 0.1 and done == ["in time"]


def test_a_request_that_comes_late_is_not_begun() -> None:
    done = list[str]()
    with pytest.raises(DeadlineError):
        asyncio.run(WorkQueue(1, 1).submit(lambda: done.append("late"), time.monotonic() - 1))
    assert not done


def test_what_has_begun_is_ended_whatever_its_deadline() -> None:
    deadline = time.monotonic() + 1

    def work() -> str:
        time.sleep(max(0.0, deadline - time.monotonic()) + 0.1)
        return "done"

    async def slow() -> tuple[str, float]:
        return await WorkQueue(1, 0).submit(work, deadline)

    assert asyncio.run(slow())[0] == "done"


def test_what_fails_unforeseen_is_answered_as_hardened_as_all_else() -> None:
    app = FastAPI()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the inside")

    add_middleware(app, Access(), Metrics())

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return await client.get("/broken", headers={"X-Request-Id": "abc"})

    answer = asyncio.run(asked())
    assert (
        answer.status_code == 500
        and answer.json()["request_id"] == answer.headers["x-request-id"] == "abc"
    )
    assert (
        "secret" not in answer.text
        and SECURITY_HEADERS.items()
        <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()
    )

import asyncio
import threading
import time

import pytest

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


def test_a_call_after_its_deadline_is_not_started() -> None:
    done = list[str]()
    with pytest.raises(DeadlineError):
        asyncio.run(WorkQueue(1, 1).submit(lambda: done.append("late"), time.monotonic() - 1))
    assert not done


def test_a_call_that_has_started_is_finished_whatever_its_deadline() -> None:
    deadline = time.monotonic() + 1

    def work() -> str:
        time.sleep(max(0.0, deadline - time.monotonic()) + 0.1)
        return "done"

    async def slow() -> tuple[str, float]:
        return await WorkQueue(1, 0).submit(work, deadline)

    assert asyncio.run(slow())[0] == "done"

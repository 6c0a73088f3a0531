from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.review.predictions import Entry
from limner.review.queue import AUDITED, order_tasks

priorities = st.lists(st.floats(0, 1), min_size=1, max_size=120)


def entries(priorities: list[float]) -> list[Entry]:
    return [
        Entry(f"{index:03}.png", f"/photos/{index:03}.jpg", 0, Path(f"{index:03}.png"), priority)
        for index, priority in enumerate(priorities)
    ]


@given(priorities, st.integers(0, 5))
def test_each_entry_comes_once_and_the_least_certain_first(
    priorities: list[float], seed: int
) -> None:
    tasks = order_tasks(entries(priorities), seed)
    assert sorted(task.entry.id for task in tasks) == [entry.id for entry in entries(priorities)]
    others = [task.entry for task in tasks if not task.audited]
    assert others == sorted(others, key=lambda entry: (entry.priority, entry.id))


@given(priorities, st.integers(0, 5), st.randoms())
def test_the_order_depends_on_the_entries_and_the_seed_alone(
    priorities: list[float], seed: int, random
) -> None:
    shuffled = entries(priorities)
    random.shuffle(shuffled)
    assert order_tasks(shuffled, seed, 0.5) == order_tasks(entries(priorities), seed, 0.5)


def test_a_tenth_is_audited_and_stands_among_the_others() -> None:
    tasks = order_tasks(entries([index / 2000 for index in range(2000)]), seed=1)
    positions = [position for position, task in enumerate(tasks) if task.audited]
    assert abs(len(positions) - AUDITED * 2000) < 50
    assert positions[:3] == [9, 19, 29]
    priorities = [tasks[position].entry.priority for position in positions]
    assert 0.4 < sum(priorities) / len(priorities) < 0.6 and priorities != sorted(priorities)


def test_second_readings_are_tasks_of_their_own() -> None:
    tasks = order_tasks(entries([0.5] * 1000), second_readings=0.2)
    second = [task for task in tasks if task.reading == 2]
    assert 150 < len(second) < 250 and len({task.key for task in tasks}) == len(tasks)
    assert all(tasks[tasks.index(task) - 1].entry == task.entry for task in second)


def test_more_images_leave_the_others_audited_as_they_were() -> None:
    few, many = order_tasks(entries([0.5] * 500)), order_tasks(entries([0.5] * 1000))
    audited = {task.entry.id for task in many if task.audited}
    assert {task.entry.id for task in few if task.audited} == {
        id for id in audited if int(id[:3]) < 500
    }


def test_a_random_order_depends_on_its_seed() -> None:
    few = entries([0.5, 0.1, 0.9, 0.3, 0.7] * 8)
    first, again, other = (order_tasks(few, seed, order="random") for seed in (0, 0, 1))
    assert first == again != other and sorted(task.key for task in first) == sorted(
        task.key for task in other
    )
    with pytest.raises(LimnerError, match="Choose predicted or random"):
        order_tasks(few, order="best")

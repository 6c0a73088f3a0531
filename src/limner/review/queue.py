"""The order of review: the least certain first, a random tenth among them, some of them twice."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from limner.files import printable_name
from limner.inference.prediction_record import require_review_order
from limner.review.predictions import Entry

MAX_READERS = 20
"""Of one entry."""
AUDITED = 0.1
"""The share of entries that are audited.

They are drawn at random and placed among the others whatever their priority, so that masks which
are accepted by habit show.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """An entry to review. Each of its readings is for another person."""

    entry: Entry
    reading: int = 1
    audited: bool = False

    @property
    def key(self) -> str:
        """The key of the task in the store."""
        return task_key(self.entry, self.reading)


def task_key(entry: Entry, reading: int = 1) -> str:
    """The store's key: the entry's id, and for a later reading a suffix that no path has."""
    return printable_name(entry.id) + ("" if reading == 1 else f"//{reading}")


def order_tasks(
    entries: Iterable[Entry],
    seed: int = 0,
    second_readings: float = 0.0,
    order: str = "predicted",
    readers: int = 2,
) -> list[Task]:
    """Put entries into the order of review.

    The result depends on the entries and the seed alone, not on the order that they come in. Of
    every ten tasks one is an audited entry.

    Args:
        entries: what is reviewed.
        seed: of the audit, the second readings and the random order.
        second_readings: the share of entries that several people review, in 0..1.
        order: one of `REVIEW_ORDERS`.
        readers: how many people review these, up to `MAX_READERS`.

    Raises LimnerError for an unknown order.
    """
    require_review_order(order)
    ordered = sorted(
        entries,
        key=lambda entry: (
            entry.priority if order == "predicted" else _uniform("order", seed, entry),
            entry.id,
        ),
    )
    audited = sorted(
        (
            entry
            for entry in ordered
            # Nobody accepts by habit what is still to be drawn
            if entry.mask is not None and _uniform("audit", seed, entry) < AUDITED
        ),
        key=lambda entry: _uniform("place", seed, entry),
    )
    audited_ids = {entry.id for entry in audited}
    others = [entry for entry in ordered if entry.id not in audited_ids]
    tasks = []
    for entry in _interleave(others, audited):
        tasks.append(Task(entry, 1, entry.id in audited_ids))
        if _uniform("twice", seed, entry) < second_readings:
            is_audited = entry.id in audited_ids
            tasks += [Task(entry, reading, is_audited) for reading in range(2, readers + 1)]
    return tasks


def _interleave(others: Sequence[Entry], audited: Sequence[Entry]) -> Iterator[Entry]:
    """One audited entry after every nine others, while there are both."""
    step = round(1 / AUDITED) - 1
    rounds = max(-(-len(others) // step), len(audited))
    for number in range(rounds):
        yield from others[number * step : (number + 1) * step]
        yield from audited[number : number + 1]


def _uniform(purpose: str, seed: int, entry: Entry) -> float:
    """A number in 0..1 of each entry's own, so that more entries change nothing for the others."""
    text = f"{purpose}:{seed}:{entry.id}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

"""In which order people see predictions: the least certain first, a seeded slice of all among them,
and some of them twice.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from limner.errors import LimnerError
from limner.files import printable_name
from limner.review.predictions import Entry

ORDERS = ("predicted", "random")
"""By doubt, or as they are drawn."""
AUDITED = 0.1
"""The share of entries that is looked at wherever it stands in the order, so that masks accepted by
habit show.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """An entry to look at. Its second `turn` is for another person than its first."""

    entry: Entry
    turn: int = 1
    audited: bool = False

    @property
    def key(self) -> str:
        """What the store knows it by."""
        return task_key(self.entry, self.turn)


def task_key(entry: Entry, turn: int = 1) -> str:
    """A store's key: the entry's id, of a second turn with what no path holds."""
    return printable_name(entry.id) + ("" if turn == 1 else f"//{turn}")


def order_tasks(
    entries: Iterable[Entry], seed: int = 0, twice: float = 0.0, order: str = "predicted"
) -> list[Task]:
    """The same for the same entries and seed, whatever order they come in. `twice` is the share
    that two people look at.

    The audited entries stand evenly among the others: of every ten, one. Raises LimnerError for an
    order that is not known.
    """
    if order not in ORDERS:
        raise LimnerError(f"--order {order} is not known. Choose {' or '.join(ORDERS)}.")
    by_doubt = sorted(
        entries,
        key=lambda entry: (
            entry.priority if order == "predicted" else _draw("order", seed, entry),
            entry.id,
        ),
    )
    audited = sorted(
        (entry for entry in by_doubt if _draw("audit", seed, entry) < AUDITED),
        key=lambda entry: _draw("place", seed, entry),
    )
    chosen = {entry.id for entry in audited}
    others, every = [entry for entry in by_doubt if entry.id not in chosen], list[Entry]()
    step = round(1 / AUDITED)
    while others or audited:
        taken, others = others[: step - 1], others[step - 1 :]
        every += taken + audited[:1]
        audited = audited[1:]
    tasks = []
    for entry in every:
        tasks.append(Task(entry, 1, entry.id in chosen))
        if _draw("twice", seed, entry) < twice:
            tasks.append(Task(entry, 2, entry.id in chosen))
    return tasks


def _draw(what: str, seed: int, entry: Entry) -> float:
    """In 0..1, of its own for each entry, so that more entries change nothing for the others."""
    digest = hashlib.sha256(f"{what}:{seed}:{entry.id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

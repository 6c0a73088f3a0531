"""People at a desk, for tests."""

import zlib
from pathlib import Path

import numpy as np

from limner.review.predictions import read_predictions
from limner.review.queue import order_tasks
from limner.review.session import ReviewSession
from limner.review.store import ReviewStore

ANNA, BEN = "anna's token is long", "ben's token is long too"
"""Their tokens."""


class Reviewed:
    """A desk at which people work."""

    def __init__(self, folder: Path, twice: float = 0.0) -> None:
        self.predictions = read_predictions(folder)
        self.store = ReviewStore.in_folder(folder / "review")
        self.desk = ReviewSession(
            self.predictions, order_tasks(self.predictions.entries, twice=twice), self.store
        )

    def decide(
        self,
        id: str,
        reviewer: str = "anna",
        *,
        turn: int = 1,
        rejected: bool = False,
        mended: bool = False,
    ) -> np.ndarray:
        task = next(task for task in self.desk.tasks if task.entry.id == id and task.turn == turn)
        if mended:
            mask = self.desk.mask(task)[0].copy()
            mask[:9, :9] ^= 1
            self.desk.save_draft(
                task,
                reviewer,
                self.store.state(task.key).version,
                self.desk.fingerprint(task),
                zlib.compress(b"\0\0\0\0" + mask.tobytes()),
                mask.shape,
            )
        self.desk.decide(
            task,
            reviewer,
            self.store.state(task.key).version,
            self.desk.fingerprint(task),
            rejected=rejected,
            reason=None,
            seconds=2.0,
            client="test",
        )
        return self.desk.mask(task)[0]

"""A review in a folder, and people who decide in it, for tests."""

import zlib
from pathlib import Path

import numpy as np

from limner.review.queue import Task, order_tasks
from limner.review.session import Decision, MaskVersion, ReviewSession
from limner.review.sources import read_predictions
from limner.review.store import EntryState
from limner.review.verdicts import ReviewResults, open_store

ANNA, BEN = "anna's token is long", "ben's token is long too"
"""Their tokens."""


def open_session(folder: Path, second_readings: float = 0.0) -> ReviewSession:
    """A session over the store beside the predictions, as the server opens it."""
    predictions = read_predictions(folder)
    tasks = order_tasks(predictions.entries, second_readings=second_readings)
    return ReviewSession(predictions, tasks, open_store(folder))


def pack_one_tile(mask: np.ndarray) -> bytes:
    """A mask of one tile, as the page sends it."""
    return zlib.compress(b"\0\0\0\0" + mask.tobytes())


def version_of(session: ReviewSession, task: Task) -> MaskVersion:
    """What a page shows now."""
    return MaskVersion(session.fingerprint(task), session.store.state(task.key).version)


def draw(
    session: ReviewSession, task: Task, mask: np.ndarray, reviewer: str = "anna"
) -> EntryState:
    """Replace the mask of a task by a draft."""
    seen = version_of(session, task)
    return session.save_draft(task, reviewer, seen, pack_one_tile(mask), mask.shape)


def decide(
    session: ReviewSession, task: Task, reviewer: str = "anna", *, rejected: bool = False
) -> EntryState:
    """Give a verdict on the mask of a task as it stands."""
    decision = Decision(rejected, seconds=3.0, client="test")
    return session.decide(task, reviewer, version_of(session, task), decision)


class LocalReview:
    """A review in a folder, without a server."""

    def __init__(self, folder: Path, second_readings: float = 0.0) -> None:
        self.folder = folder
        self.session = open_session(folder, second_readings)
        self.predictions, self.store = self.session.predictions, self.session.store
        self.results = ReviewResults(self.predictions, self.store)

    def decide(
        self,
        id: str,
        reviewer: str = "anna",
        *,
        reading: int = 1,
        rejected: bool = False,
        mended: bool = False,
    ) -> np.ndarray:
        """Give a verdict on an entry, with `mended` after a stroke; return the mask."""
        task = next(
            task for task in self.session.tasks if task.entry.id == id and task.reading == reading
        )
        if mended:
            mask = self.session.mask(task)[0].copy()
            mask[:9, :9] ^= 1
            draw(self.session, task, mask, reviewer)
        decide(self.session, task, reviewer, rejected=rejected)
        return self.session.mask(task)[0]

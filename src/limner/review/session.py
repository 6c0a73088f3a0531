"""ReviewSession: what reviewers do with predictions, one task after the other."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.review.events import EntryState, NewVerdict, sha256
from limner.review.leases import Leases
from limner.review.mask_tiles import (
    apply_tiles,
    mask_from_bytes,
    mask_to_bytes,
    tiles_from_bytes,
    unpack_tiles,
)
from limner.review.predictions import Predictions
from limner.review.progress import ReviewProgress, status_code, summarise_progress
from limner.review.queue import Task
from limner.review.store import ReviewStore


class ChangedError(LimnerError):
    """A file was changed since it was shown."""


@dataclass(frozen=True, slots=True)
class MaskVersion:
    """What a reviewer saw: the fingerprint of the files, and how often the mask was written."""

    fingerprint: str
    version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer says of a mask, and how long that took."""

    rejected: bool
    reason: str | None = None
    seconds: float = 0.0
    client: str = ""
    """The program that sent it."""


class ReviewSession:
    """A review on one server: predictions, their order, leases, and the store.

    Args:
        predictions: What is reviewed.
        tasks: In their order.
        store: Where drafts and verdicts lie.
        leases: Who works on which task; by default those of the store.
        assignees: The reviewers among whom the tasks are shared out, one to each in turn. Who has
            done theirs is given those of others.

    Raises LimnerError where the store is that of other predictions, or was tampered with.
    """

    def __init__(
        self,
        predictions: Predictions,
        tasks: Sequence[Task],
        store: ReviewStore,
        leases: Leases | None = None,
        assignees: Sequence[str] = (),
    ) -> None:
        if not store.belongs_to("predictions", predictions.identity):
            raise LimnerError(
                f"the review is not of what {predictions.folder} holds now: the predictions, or "
                "the images and their classes, were others. Put them back, or move the review's "
                "folder away, or give another database with --store."
            )
        self.predictions, self.tasks, self.store = predictions, tuple(tasks), store
        self._assignees = tuple(assignees)
        self.leases = leases or Leases(store)
        keys = "\n".join([predictions.identity, *(task.key for task in self.tasks)])
        self.edition = sha256(keys.encode("utf-8", "surrogateescape"))[:16]
        """A hash of these predictions in this order: in another one a position is another task."""
        self._seconds = [event.seconds for event in store.events()]
        store.remove_unused_blobs()
        self._states, self._lock = store.states(), threading.Lock()
        self._readings: dict[str, list[Task]] = {}
        for task in self.tasks:
            self._readings.setdefault(task.entry.id, []).append(task)

    def state(self, task: Task) -> EntryState:
        """A task's state as this server knows it."""
        return self._states.get(task.key, EntryState())

    def refresh(self) -> None:
        """Take over what other servers wrote."""
        stored = self.store.states()
        self.leases.refresh()
        with self._lock:
            for key, state in stored.items():
                if state.version >= self._states.get(key, EntryState()).version:
                    self._states[key] = state

    def status_codes(self) -> str:
        """One letter for each task, in their order: a, m or r for a verdict, d for a draft, or a
        dot.
        """
        return "".join(status_code(self.state(task)) for task in self.tasks)

    def write_count(self) -> int:
        """How many writes this server knows of.

        Read before the status codes, it tells which of two answers is the later one.
        """
        with self._lock:
            return sum(state.version for state in self._states.values())

    def progress(self, codes: str | None = None) -> ReviewProgress:
        """How far the review is now, or was when the status codes were read."""
        codes = self.status_codes() if codes is None else codes
        return summarise_progress(self.tasks, codes, self._seconds)

    def fingerprint(self, task: Task) -> str:
        """A short hash that changes when the image or the predicted mask of a task does."""
        return sha256(self.predictions.fingerprint(task.entry).encode())[:8]

    def mask(self, task: Task) -> tuple[UInt8[ndarray, "h w"], EntryState]:
        """The mask of a task in class indices, and its state.

        It is the predicted mask or that of the last verdict, with the draft over it.
        """
        state = self._remember(task, self.store.state(task.key))
        decided = (
            mask_from_bytes(self.store.blob(state.mask))
            if state.mask
            else self.predictions.mask(task.entry)
        )
        if not state.draft:
            return decided, state
        contents = {index: self.store.blob(hash) for index, hash in state.draft.items()}
        tiles = tiles_from_bytes(contents, (decided.shape[0], decided.shape[1]))
        return apply_tiles(decided, tiles), state

    def save_draft(
        self,
        task: Task,
        reviewer: str,
        seen: MaskVersion,
        body: bytes,
        size_px: tuple[int, int],
    ) -> EntryState:
        """Store the tiles that a stroke changed, as the page packs them.

        Raises LimnerError for a body of another form, and else as `decide` does.
        """
        self._require_not_the_other_reader(task, reviewer)
        self._require_unchanged(task, seen)
        tiles = unpack_tiles(body, size_px, len(self.predictions.labels.names))
        contents = {index: tile.tobytes() for index, tile in tiles.items()}
        state = self.store.save_draft(task.key, reviewer, seen.version, contents)
        return self._remember(task, state)

    def decide(
        self, task: Task, reviewer: str, seen: MaskVersion, decision: Decision
    ) -> EntryState:
        """Accept or reject the mask as it stands. A corrected mask gets the verdict "mended".

        Raises StaleError where somebody wrote since, ChangedError where the image or the predicted
        mask was changed since, and LimnerError for a reviewer who did the other of its two
        readings.
        """
        self._require_not_the_other_reader(task, reviewer)
        self._require_unchanged(task, seen)
        mask, _ = self.mask(task)
        predicted = self.predictions.mask(task.entry)
        corrected = None if np.array_equal(mask, predicted) else mask_to_bytes(mask)
        verdict = NewVerdict(
            reviewer,
            "rejected" if decision.rejected else "accepted" if corrected is None else "mended",
            base_hash=sha256(mask_to_bytes(predicted)),
            image_hash=self.predictions.image_hash(task.entry),
            mask=corrected,
            reason=decision.reason,
            seconds=decision.seconds,
            client=decision.client,
        )
        # The files that were read are still those that were shown
        self._require_unchanged(task, seen)
        state = self.store.decide(task.key, seen.version, verdict)
        self._seconds.append(decision.seconds)
        self.leases.release(task.key, reviewer)
        return self._remember(task, state)

    def next_task(self, reviewer: str, after: int) -> int | None:
        """The next open task for a person after a position; the search wraps around at the end.

        Those that are assigned to them come before those of others.
        """
        positions = [*range(after + 1, len(self.tasks)), *range(min(after + 1, len(self.tasks)))]
        own = [place for place in positions if self.assignee(place) in {None, reviewer}]
        others = [place for place in positions if self.assignee(place) not in {None, reviewer}]
        for position in (*own, *others):
            task = self.tasks[position]
            if self.is_open(task, reviewer):
                # Another server may have decided it, or somebody works on it there
                self._remember(task, self.store.state(task.key))
                self.leases.reload(task.key)
                if self.is_open(task, reviewer):
                    return position
        return None

    def assignee(self, position: int) -> str | None:
        """Whom a task is assigned to; None where tasks are not shared out."""
        return self._assignees[position % len(self._assignees)] if self._assignees else None

    def is_open(self, task: Task, reviewer: str) -> bool:
        """Whether a task needs a verdict, nobody else holds it, and this person may review it."""
        state = self.state(task)
        decided = state.verdict and not state.draft
        if decided or self.leases.holder(task.key) not in {None, reviewer}:
            return False
        return not self.did_other_reading(task, reviewer) and not any(
            self.leases.holder(other.key) == reviewer for other in self._other_readings(task)
        )

    def did_other_reading(self, task: Task, reviewer: str) -> bool:
        """Whether a person drew or decided in the other reading of the same entry."""
        others = map(self.state, self._other_readings(task))
        return any(reviewer in {state.reviewer, state.drafted_by} for state in others)

    def _other_readings(self, task: Task) -> list[Task]:
        return [other for other in self._readings[task.entry.id] if other is not task]

    def _require_not_the_other_reader(self, task: Task, reviewer: str) -> None:
        for other in self._other_readings(task):
            # Another server may have written there
            self._remember(other, self.store.state(other.key))
        if self.did_other_reading(task, reviewer):
            raise LimnerError(
                f"{task.entry.name} is looked at by several people, and {reviewer} was one of "
                "them. Leave this turn to somebody else."
            )

    def _require_unchanged(self, task: Task, seen: MaskVersion) -> None:
        if seen.fingerprint != self.fingerprint(task):
            raise ChangedError(
                f"the image of {task.entry.name}, or the mask that was predicted for it, was "
                "changed since it was shown. Look at it again."
            )

    def _remember(self, task: Task, state: EntryState) -> EntryState:
        """Keep a state unless a later one is known; return it."""
        with self._lock:
            if state.version >= self.state(task).version:
                self._states[task.key] = state
        return state

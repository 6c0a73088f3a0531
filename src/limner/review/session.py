"""What reviewers do: predictions, their order, who holds what, and what was decided, brought
together.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.review.leases import Leases
from limner.review.mask_tiles import (
    apply_tiles,
    mask_from_bytes,
    mask_to_bytes,
    tiles_from_bytes,
    unpack_tiles,
)
from limner.review.predictions import Predictions
from limner.review.queue import Task
from limner.review.store import EntryState, ReviewStore, sha256

LETTERS = {"accepted": "a", "mended": "m", "rejected": "r"}
"""What stands for a verdict in `Desk.letters`; a dot is an open task, d one with a draft."""


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How far a review is."""

    tasks: int
    accepted: int
    mended: int
    rejected: int
    minutes_per_image: float | None
    audited: tuple[int, int] = (0, 0)
    """Of the masks drawn at random, how many were decided, and how many of these were mended or
    rejected.
    """

    @property
    def left(self) -> int:
        return self.tasks - self.accepted - self.mended - self.rejected

    @property
    def audit(self) -> str | None:
        """What the masks drawn at random say of all, and beside them the others, which are the
        least certain; None before the first of them.

        Where people change fewer of the least certain than of any, they accept by habit.
        """
        decided, changed = self.audited
        if not decided:
            return None
        others, changed_others = (
            self.tasks - self.left - decided,
            self.mended + self.rejected - changed,
        )
        beside = (
            f", of the {others} others {changed_others} ({changed_others / others:.0%})"
            if others
            else ""
        )
        return (
            f"Of {decided} masks drawn at random {changed} {'was' if changed == 1 else 'were'} "
            f"mended or rejected ({changed / decided:.0%}){beside}."
        )


class ChangedError(LimnerError):
    """What was shown is no more what there is."""


class ReviewSession:
    """A review. Raises LimnerError where the store is that of other predictions, or was tampered
    with.
    """

    def __init__(
        self,
        predictions: Predictions,
        tasks: Sequence[Task],
        store: ReviewStore,
        leases: Leases | None = None,
    ) -> None:
        if not store.belongs_to("predictions", predictions.identity):
            raise LimnerError(
                f"the review is not of what {predictions.folder} holds now: the predictions, or the images and their classes, were others. Put them back, "
                "or move the review's folder away, or give another database with --store."
            )
        self.predictions, self.tasks, self.store, self.leases = (
            predictions,
            tuple(tasks),
            store,
            leases or Leases(),
        )
        self.edition = sha256(
            "\n".join([predictions.identity, *(task.key for task in self.tasks)]).encode(
                "utf-8", "surrogateescape"
            )
        )[:16]
        """Of these predictions in this order: under another one a place is another task."""
        self._seconds = [event.seconds for event in store.events()]
        store.remove_unused_blobs()
        self._states, self._lock = store.states(), threading.Lock()
        self._turns: dict[str, list[Task]] = {}
        for task in self.tasks:
            self._turns.setdefault(task.entry.id, []).append(task)

    def state(self, task: Task) -> EntryState:
        """As it was when this server last looked or wrote."""
        return self._states.get(task.key, EntryState())

    def refresh(self) -> None:
        """See what other servers wrote."""
        found = self.store.states()
        with self._lock:
            for key, state in found.items():
                if state.version >= self._states.get(key, EntryState()).version:
                    self._states[key] = state

    def letters(self) -> str:
        """One letter for each task, in their order. What was drawn after a verdict waits for
        another.
        """
        return "".join(
            "d" if state.draft else LETTERS[state.verdict] if state.verdict else "."
            for state in map(self.state, self.tasks)
        )

    def write_count(self) -> int:
        """How many writes this server knows of: asked for before the letters, it tells the later of
        two answers.
        """
        with self._lock:
            return sum(state.version for state in self._states.values())

    def progress(self, letters: str | None = None) -> ReviewProgress:
        """As it is now, or as it was when the letters were asked for."""
        letters = self.letters() if letters is None else letters
        usual = sum(self._seconds) / len(self._seconds) / 60 if self._seconds else None
        audited = [
            letter
            for task, letter in zip(self.tasks, letters, strict=True)
            if task.audited and letter in LETTERS.values()
        ]
        changed = sum(letter != LETTERS["accepted"] for letter in audited)
        return ReviewProgress(
            len(letters),
            letters.count("a"),
            letters.count("m"),
            letters.count("r"),
            usual,
            (len(audited), changed),
        )

    def fingerprint(self, task: Task) -> str:
        """Of the files that a task shows: another one where one of them was changed."""
        return sha256(self.predictions.fingerprint(task.entry).encode())[:8]

    def mask(self, task: Task) -> tuple[UInt8[ndarray, "h w"], EntryState]:
        """The mask as it stands, in class indices: what was predicted, or last decided, and what
        was drawn over it since.
        """
        state = self.store.state(task.key)
        self._keep(task, state)
        beneath = (
            mask_from_bytes(self.store.blob(state.mask))
            if state.mask
            else self.predictions.mask(task.entry)
        )
        if not state.draft:
            return beneath, state
        contents = {index: self.store.blob(hash) for index, hash in state.draft.items()}
        return apply_tiles(
            beneath, tiles_from_bytes(contents, (beneath.shape[0], beneath.shape[1]))
        ), state

    def save_draft(
        self,
        task: Task,
        reviewer: str,
        version: int,
        basis: str,
        body: bytes,
        size_px: tuple[int, int],
    ) -> EntryState:
        """Keep the tiles that a stroke changed, deflated as the page sends them. Raises LimnerError
        for others, and else as `decide` does.
        """
        self._require_part(task, reviewer)
        self._require_basis(task, basis)
        tiles = unpack_tiles(body, size_px, len(self.predictions.labels.names))
        state = self.store.save_draft(
            task.key, reviewer, version, {index: tile.tobytes() for index, tile in tiles.items()}
        )
        return self._keep(task, state)

    def decide(
        self,
        task: Task,
        reviewer: str,
        version: int,
        basis: str,
        *,
        rejected: bool,
        reason: str | None,
        seconds: float,
        client: str,
    ) -> EntryState:
        """Accept the mask as it stands, which mends it where it is not the predicted one, or reject
        it.

        Raises StaleError as the store does, and ChangedError where the image or the predicted mask
        is another than was shown (`basis`).
        """
        self._require_part(task, reviewer)
        self._require_basis(task, basis)
        mask, _ = self.mask(task)
        base = self.predictions.mask(task.entry)
        drawn = None if np.array_equal(mask, base) else mask_to_bytes(mask)
        image_hash = self.predictions.image_hash(task.entry)
        # What was read is still what was shown
        self._require_basis(task, basis)
        state = self.store.decide(
            task.key,
            reviewer,
            version,
            "rejected" if rejected else "accepted" if drawn is None else "mended",
            base_hash=sha256(mask_to_bytes(base)),
            image_hash=image_hash,
            mask=drawn,
            seconds=seconds,
            reason=reason,
            client=client,
        )
        self._seconds.append(seconds)
        self.leases.release(task.key, reviewer)
        return self._keep(task, state)

    def next_task(self, reviewer: str, after: int) -> int | None:
        """Where the next open task is that this person may do, from a place on and round to it
        again.
        """
        places = [*range(after + 1, len(self.tasks)), *range(min(after + 1, len(self.tasks)))]
        for place in places:
            task = self.tasks[place]
            if self.is_open(task, reviewer):
                # Another server may have decided it
                self._keep(task, self.store.state(task.key))
                if self.is_open(task, reviewer):
                    return place
        return None

    def is_open(self, task: Task, reviewer: str) -> bool:
        """Whether it is undecided, nobody else is at it, and this person has no part in its other
        turn.
        """
        state = self.state(task)
        if (state.verdict and not state.draft) or self.leases.holder(task.key) not in {
            None,
            reviewer,
        }:
            return False
        others = [other for other in self._turns[task.entry.id] if other is not task]
        return not self.took_part(task, reviewer) and not any(
            self.leases.holder(other.key) == reviewer for other in others
        )

    def took_part(self, task: Task, reviewer: str) -> bool:
        """Whether a person drew or decided in the other turn."""
        others = (self.state(other) for other in self._turns[task.entry.id] if other is not task)
        return any(reviewer in {state.reviewer, state.drafted_by} for state in others)

    def _require_part(self, task: Task, reviewer: str) -> None:
        for other in self._turns[task.entry.id]:
            if other is not task:
                # Another server may have written there
                self._keep(other, self.store.state(other.key))
        if self.took_part(task, reviewer):
            raise LimnerError(
                f"{task.entry.name} is looked at by two people, and {reviewer} was one of "
                "them. Leave this turn to somebody else."
            )

    def _require_basis(self, task: Task, basis: str) -> None:
        if basis != self.fingerprint(task):
            raise ChangedError(
                f"the image of {task.entry.name}, or the mask that was predicted for it, was "
                "changed since it was shown. Look at it again."
            )

    def _keep(self, task: Task, state: EntryState) -> EntryState:
        with self._lock:
            if state.version >= self.state(task).version:
                self._states[task.key] = state
        return state

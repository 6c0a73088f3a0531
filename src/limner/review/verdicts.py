"""What a review came to: for each entry the last verdict of each turn, the mask that it means, and
where two people differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.files import printable_name
from limner.metrics.overlap import image_dice
from limner.review.mask_tiles import mask_from_bytes, mask_to_bytes
from limner.review.predictions import Entry, Predictions
from limner.review.queue import task_key
from limner.review.store import ReviewStore, VerdictEvent, sha256


@dataclass(frozen=True, slots=True)
class ReviewedEntry:
    """One entry and the last event of each of its turns."""

    entry: Entry
    events: tuple[VerdictEvent, ...]

    @property
    def disagree(self) -> bool:
        """Whether two people came to different ends."""
        return (
            len({None if event.verdict == "rejected" else event.mask_hash for event in self.events})
            > 1
        )

    @property
    def kept_by_two(self) -> bool:
        return len(self.events) == 2 and all(event.verdict != "rejected" for event in self.events)

    def is_settled(self, prefer: str | None) -> bool:
        """Whether it is clear what counts: nobody differs, or one of them is preferred."""
        return not self.disagree or any(event.reviewer == prefer for event in self.events)

    def event_of(self, reviewer: str | None) -> VerdictEvent:
        """The event that counts: that of a person, where they gave one, else the first turn's."""
        return next((event for event in self.events if event.reviewer == reviewer), self.events[0])


def reviewed_entries(predictions: Predictions, store: ReviewStore) -> list[ReviewedEntry]:
    """Of all entries that were decided. Raises LimnerError where the store's chain is broken, or it
    is that of other predictions.
    """
    if not store.belongs_to("predictions", predictions.identity):
        raise LimnerError(
            f"the review is of other predictions, images or classes than {predictions.folder} "
            "holds now. Give those that were reviewed."
        )
    last: dict[str, VerdictEvent] = {event.entry: event for event in store.events()}
    found = []
    for entry in sorted(predictions.entries, key=lambda entry: entry.id):
        events = tuple(last[key] for key in (task_key(entry, 1), task_key(entry, 2)) if key in last)
        if events:
            found.append(ReviewedEntry(entry, events))
    return found


def reviewed_mask(
    predictions: Predictions, store: ReviewStore, entry: Entry, event: VerdictEvent
) -> UInt8[ndarray, "h w"]:
    """The mask that an event means, in class indices. Raises LimnerError where it is not the one
    that was reviewed.
    """
    if event.mask_hash != event.base_hash:
        return mask_from_bytes(store.blob(event.mask_hash))
    mask = predictions.mask(entry)
    if sha256(mask_to_bytes(mask)) != event.base_hash:
        raise LimnerError(
            "its mask was changed since it was reviewed. Restore it, or review it again."
        )
    return mask


def safe_file_name(id: str) -> str:
    """Where what is written of an entry goes, below a folder and never beside it: its id, or a name
    made of it where that leads elsewhere.
    """
    path = PurePosixPath(id)
    safe = (
        not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in id
        and ":" not in id
        and id == printable_name(id)
    )
    name = printable_name(path.name).replace("\\", "_")
    return id if safe else f"{name}-{sha256(id.encode('utf-8', 'surrogateescape'))[:12]}"


def agreement(
    predictions: Predictions, store: ReviewStore, found: Sequence[ReviewedEntry]
) -> list[float]:
    """The Dice between the two masks of each entry that two people kept. Raises LimnerError as
    `mask_of` does.
    """
    dice = [_agreement(predictions, store, outcome) for outcome in found if outcome.kept_by_two]
    return [value for value in dice if not np.isnan(value)]


def describe_difference(
    predictions: Predictions, store: ReviewStore, outcome: ReviewedEntry
) -> str:
    """How two people differ, in words: who said what, and the Dice between their masks where both
    kept one.
    """
    who = (
        " and ".join(f"{event.reviewer} ({event.verdict})" for event in outcome.events) + " differ"
    )
    try:
        dice = _agreement(predictions, store, outcome) if outcome.kept_by_two else np.nan
    except LimnerError:
        # A mask is not what it was, which is told beside this
        return who
    return who if np.isnan(dice) else f"{who}, by a Dice of {dice:.3f} between their masks"


def _agreement(predictions: Predictions, store: ReviewStore, outcome: ReviewedEntry) -> float:
    first, second = (
        reviewed_mask(predictions, store, outcome.entry, event) for event in outcome.events
    )
    return image_dice(first, second, predictions.labels)

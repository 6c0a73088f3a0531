"""What a review came to: for each entry the last verdict of each turn, the mask that it means, and where two people differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.files import readable
from limner.metrics import image_dice
from limner.review.folder import Entry, Predictions
from limner.review.queue import key_of
from limner.review.store import Event, Store, sha256
from limner.review.tiles import from_content, to_content


@dataclass(frozen=True, slots=True)
class Outcome:
    """One entry and the last event of each of its turns."""

    entry: Entry
    events: tuple[Event, ...]

    @property
    def differ(self) -> bool:
        """Whether two people came to different ends."""
        return len({None if event.verdict == "rejected" else event.mask_hash for event in self.events}) > 1

    @property
    def kept_by_two(self) -> bool:
        return len(self.events) == 2 and all(event.verdict != "rejected" for event in self.events)

    def settled(self, prefer: str | None) -> bool:
        """Whether it is clear what counts: nobody differs, or one of them is preferred."""
        return not self.differ or any(event.reviewer == prefer for event in self.events)

    def of(self, reviewer: str | None) -> Event:
        """The event that counts: that of a person, where they gave one, else the first turn's."""
        return next((event for event in self.events if event.reviewer == reviewer), self.events[0])


def outcomes(predictions: Predictions, store: Store) -> list[Outcome]:
    """Of all entries that were decided. Raises LimnerError where the store's chain is broken, or it is that of other predictions."""
    if not store.belongs_to("predictions", predictions.identity):
        raise LimnerError(f"the review is of other predictions, images or classes than {predictions.folder} holds now. Give those that were reviewed.")
    last: dict[str, Event] = {event.entry: event for event in store.events()}
    found = []
    for entry in sorted(predictions.entries, key=lambda entry: entry.id):
        events = tuple(last[key] for key in (key_of(entry, 1), key_of(entry, 2)) if key in last)
        if events:
            found.append(Outcome(entry, events))
    return found


def mask_of(predictions: Predictions, store: Store, entry: Entry, event: Event) -> UInt8[ndarray, "h w"]:
    """The mask that an event means, in class indices. Raises LimnerError where it is not the one that was reviewed."""
    if event.mask_hash != event.base_hash:
        return from_content(store.blob(event.mask_hash))
    mask = predictions.mask(entry)
    if sha256(to_content(mask)) != event.base_hash:
        raise LimnerError("its mask was changed since it was reviewed. Restore it, or review it again.")
    return mask


def file_name(id: str) -> str:
    """Where what is written of an entry goes, below a folder and never beside it: its id, or a name made of it where that leads elsewhere."""
    path = PurePosixPath(id)
    safe = not path.is_absolute() and ".." not in path.parts and "\\" not in id and ":" not in id and id == readable(id)
    name = readable(path.name).replace("\\", "_")
    return id if safe else f"{name}-{sha256(id.encode('utf-8', 'surrogateescape'))[:12]}"


def agreement(predictions: Predictions, store: Store, found: Sequence[Outcome]) -> list[float]:
    """The Dice between the two masks of each entry that two people kept. Raises LimnerError as `mask_of` does."""
    dice = [_agreement(predictions, store, outcome) for outcome in found if outcome.kept_by_two]
    return [value for value in dice if not np.isnan(value)]


def difference(predictions: Predictions, store: Store, outcome: Outcome) -> str:
    """How two people differ, in words: who said what, and the Dice between their masks where both kept one."""
    who = " and ".join(f"{event.reviewer} ({event.verdict})" for event in outcome.events) + " differ"
    try:
        dice = _agreement(predictions, store, outcome) if outcome.kept_by_two else np.nan
    except LimnerError:  # a mask is not what it was, which is told beside this
        return who
    return who if np.isnan(dice) else f"{who}, by a Dice of {dice:.3f} between their masks"


def _agreement(predictions: Predictions, store: Store, outcome: Outcome) -> float:
    first, second = (mask_of(predictions, store, outcome.entry, event) for event in outcome.events)
    return image_dice(first, second, predictions.labels)

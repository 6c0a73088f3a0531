"""What a review came to: for each entry the last verdict of each turn, the mask that it means, and where two people differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.metrics import image_dice
from limner.review.folder import Entry, Predictions
from limner.review.store import Event, Store
from limner.review.tiles import from_content


@dataclass(frozen=True, slots=True)
class Outcome:
    """One entry and the last event of each of its turns."""

    entry: Entry
    events: tuple[Event, ...]

    @property
    def differ(self) -> bool:
        """Whether two people came to different ends."""
        return len({None if event.verdict == "rejected" else event.mask_hash for event in self.events}) > 1

    def of(self, reviewer: str | None) -> Event:
        """The event that counts: that of a person, where they gave one, else the first turn's."""
        return next((event for event in self.events if event.reviewer == reviewer), self.events[0])


def outcomes(predictions: Predictions, store: Store) -> list[Outcome]:
    """Of all entries that were decided. Raises LimnerError where the store's chain is broken."""
    last: dict[str, Event] = {event.entry: event for event in store.events()}
    found = []
    for entry in sorted(predictions.entries, key=lambda entry: entry.id):
        events = tuple(last[key] for key in (entry.id, f"{entry.id}@2") if key in last)
        if events:
            found.append(Outcome(entry, events))
    return found


def mask_of(predictions: Predictions, store: Store, entry: Entry, event: Event) -> UInt8[ndarray, "h w"]:
    """The mask that an event means, in class indices."""
    return predictions.mask(entry) if event.mask_hash == event.base_hash else from_content(store.blob(event.mask_hash))


def agreement(predictions: Predictions, store: Store, found: Sequence[Outcome]) -> list[float]:
    """The Dice between the two masks of each entry that two people kept."""
    kept = [outcome for outcome in found if len(outcome.events) == 2 and all(event.verdict != "rejected" for event in outcome.events)]
    masks = ([mask_of(predictions, store, outcome.entry, event) for event in outcome.events] for outcome in kept)
    dice = [image_dice(first, second, predictions.labels) for first, second in masks]
    return [value for value in dice if not np.isnan(value)]

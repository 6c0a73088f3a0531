"""The result of a review: of each entry the last verdicts, the masks they mean, and where two
people differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.parallel import Progress
from limner.errors import LimnerError
from limner.metrics.overlap import image_dice
from limner.review.events import VERDICT_NAMES, VerdictEvent, sha256
from limner.review.kept_masks import KeptMask, safe_file_name
from limner.review.mask_tiles import mask_from_bytes, mask_to_bytes
from limner.review.predictions import Entry, Predictions, read_predictions
from limner.review.queue import task_key
from limner.review.store import ReviewStore

STORE_FOLDER = "review"
"""The folder beside the predictions that holds the store."""


@dataclass(frozen=True, slots=True)
class ReviewedEntry:
    """One entry and the last event of each of its readings."""

    entry: Entry
    events: tuple[VerdictEvent, ...]

    @property
    def disagree(self) -> bool:
        """Whether two people gave different masks, or only one of them rejected it."""
        masks = {None if event.verdict == "rejected" else event.mask_hash for event in self.events}
        return len(masks) > 1

    @property
    def kept_by_two(self) -> bool:
        """Whether two people accepted or corrected the mask."""
        return len(self.events) == 2 and all(event.verdict != "rejected" for event in self.events)

    def is_settled(self, prefer: str | None) -> bool:
        """Whether people agree, or the preferred reviewer is one of them."""
        return not self.disagree or any(event.reviewer == prefer for event in self.events)

    def event_of(self, prefer: str | None) -> VerdictEvent:
        """The event that counts: the preferred reviewer's, else that of the first reading."""
        return next((event for event in self.events if event.reviewer == prefer), self.events[0])


@dataclass(frozen=True, slots=True)
class ReviewResults:
    """Predictions, and the store that holds the verdicts on them."""

    predictions: Predictions
    store: ReviewStore

    def reviewed_entries(self) -> list[ReviewedEntry]:
        """The entries that have a verdict, sorted by their id.

        Raises LimnerError where the store's chain is broken, or the store is that of other
        predictions.
        """
        folder = self.predictions.folder
        if not self.store.belongs_to("predictions", self.predictions.identity):
            raise LimnerError(
                f"the review is of other predictions, images or classes than {folder} "
                "holds now. Give those that were reviewed."
            )
        last_events = {event.entry: event for event in self.store.events()}
        reviewed = []
        for entry in sorted(self.predictions.entries, key=lambda entry: entry.id):
            keys = task_key(entry, 1), task_key(entry, 2)
            if events := tuple(last_events[key] for key in keys if key in last_events):
                reviewed.append(ReviewedEntry(entry, events))
        return reviewed

    def mask(self, entry: Entry, event: VerdictEvent) -> UInt8[ndarray, "h w"]:
        """The mask of a verdict, in class indices.

        Raises LimnerError where the predicted mask is not the one that was reviewed.
        """
        if event.mask_hash != event.base_hash:
            return mask_from_bytes(self.store.blob(event.mask_hash))
        mask = self.predictions.mask(entry)
        if sha256(mask_to_bytes(mask)) != event.base_hash:
            raise LimnerError(
                "its mask was changed since it was reviewed. Restore it, or review it again."
            )
        return mask

    def kept_masks(
        self, reviewed: Sequence[ReviewedEntry], prefer: str | None, image_prefix: str = ""
    ) -> Iterator[KeptMask]:
        """The masks of some entries, read one by one. Raises LimnerError as `mask` does."""
        for entry in reviewed:
            yield KeptMask(
                safe_file_name(self.predictions.sample_id(entry.entry)),
                entry.entry,
                self.mask(entry.entry, entry.event_of(prefer)),
                image_prefix=image_prefix,
            )

    def agreement(self, reviewed: Sequence[ReviewedEntry]) -> list[float]:
        """The Dice between the two masks of each entry that two people kept.

        Raises LimnerError as `mask` does.
        """
        dice = [self._dice_between(entry) for entry in reviewed if entry.kept_by_two]
        return [value for value in dice if not np.isnan(value)]

    def describe_difference(self, reviewed: ReviewedEntry) -> str:
        """Who said what of an entry, and the Dice between the masks if both people kept one."""
        verdicts = " and ".join(
            f"{event.reviewer} ({VERDICT_NAMES[event.verdict]})" for event in reviewed.events
        )
        try:
            dice = self._dice_between(reviewed) if reviewed.kept_by_two else np.nan
        except LimnerError:
            # A mask was changed, which is a conflict of its own
            dice = np.nan
        difference = "" if np.isnan(dice) else f", by a Dice of {dice:.3f} between their masks"
        return f"{verdicts} differ{difference}"

    def _dice_between(self, reviewed: ReviewedEntry) -> float:
        first, second = (self.mask(reviewed.entry, event) for event in reviewed.events)
        return image_dice(first, second, self.predictions.labels)


@contextmanager
def open_results(
    folder: Path, store: str | None = None, progress: Progress | None = None
) -> Iterator[ReviewResults]:
    """Open the results of a review.

    Args:
        folder: the predictions that were reviewed.
        store: the URL of the review's database; by default it lies beside the predictions.
        progress: draws a bar while the masks of another tool are read.

    Raises LimnerError where the folder holds no predictions, or was not reviewed.
    """
    predictions = read_predictions(folder, progress)
    if store is None and not (folder / STORE_FOLDER).is_dir():
        raise LimnerError(f"{folder} was not reviewed. Begin with: limner review {folder}")
    with closing(open_store(folder, store)) as opened:
        yield ReviewResults(predictions, opened)


def open_store(folder: Path, url: str | None = None) -> ReviewStore:
    """The store at a URL, or beside the predictions, where it is created if missing."""
    return ReviewStore(url) if url else ReviewStore.in_folder(folder / STORE_FOLDER)

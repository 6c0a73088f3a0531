"""The result of a review: of each entry the last verdicts, the masks they mean, and where two
people differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.parallel import Progress
from limner.errors import LimnerError
from limner.metrics.consensus import CONSENSUS_METHODS
from limner.review.events import VERDICT_NAMES, VerdictEvent, sha256
from limner.review.kept_masks import KeptMask, safe_file_name
from limner.review.mask_tiles import mask_from_bytes, mask_to_bytes
from limner.review.predictions import STORE_FOLDER, Entry, Predictions
from limner.review.queue import MAX_READERS, task_key
from limner.review.sources import read_predictions
from limner.review.store import ReviewStore
from limner.review.void import dice_between


@dataclass(frozen=True, slots=True)
class Settlement:
    """What settles it where people differ; by default nothing does."""

    prefer: str | None = None
    """The reviewer whose verdict counts."""
    consensus: str | None = None
    """One of `CONSENSUS_METHODS`, by which the masks of several become one."""

    def __post_init__(self) -> None:
        if self.consensus not in {None, *CONSENSUS_METHODS}:
            raise LimnerError(
                f"{self.consensus} is no consensus. Choose {' or '.join(CONSENSUS_METHODS)}."
            )


@dataclass(frozen=True, slots=True)
class ReviewedEntry:
    """One entry and the last event of each of its readings."""

    entry: Entry
    events: tuple[VerdictEvent, ...]

    @property
    def kept(self) -> tuple[VerdictEvent, ...]:
        """The events of those who accepted or corrected the mask."""
        return tuple(event for event in self.events if event.verdict != "rejected")

    @property
    def disagree(self) -> bool:
        """Whether people gave different masks, or only some of them rejected it."""
        masks = {None if event.verdict == "rejected" else event.mask_hash for event in self.events}
        return len(masks) > 1

    def is_settled(self, settlement: Settlement) -> bool:
        """Whether people agree, or there is a way to one verdict."""
        return not self.disagree or bool(settlement.consensus) or bool(self._preferred(settlement))

    def is_rejected(self, settlement: Settlement) -> bool:
        """Whether the verdict that counts rejects the mask: with a consensus that of more than
        half.
        """
        if preferred := self._preferred(settlement):
            return preferred.verdict == "rejected"
        if settlement.consensus:
            return 2 * len(self.kept) < len(self.events)
        return self.events[0].verdict == "rejected"

    def counted_events(self, settlement: Settlement) -> tuple[VerdictEvent, ...]:
        """The events whose masks count, of an entry that is kept: one, or those of a consensus."""
        if preferred := self._preferred(settlement):
            return (preferred,)
        return self.kept if settlement.consensus and self.disagree else self.kept[:1]

    def _preferred(self, settlement: Settlement) -> VerdictEvent | None:
        return next((event for event in self.events if event.reviewer == settlement.prefer), None)


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
            keys = [task_key(entry, reading) for reading in range(1, MAX_READERS + 1)]
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

    def settled_mask(
        self, reviewed: ReviewedEntry, settlement: Settlement
    ) -> UInt8[ndarray, "h w"]:
        """The mask that counts of an entry that is kept. Raises LimnerError as `mask` does."""
        events = reviewed.counted_events(settlement)
        masks = [self.mask(reviewed.entry, event) for event in events]
        if len(masks) == 1 or settlement.consensus is None:
            return masks[0]
        return CONSENSUS_METHODS[settlement.consensus](masks)

    def kept_masks(
        self,
        reviewed: Sequence[ReviewedEntry],
        settlement: Settlement,
        image_prefix: str = "",
    ) -> Iterator[KeptMask]:
        """The masks of some entries, read one by one. Raises LimnerError as `mask` does."""
        for entry in reviewed:
            yield KeptMask(
                safe_file_name(self.predictions.sample_id(entry.entry)),
                entry.entry,
                self.settled_mask(entry, settlement),
                image_prefix=image_prefix,
            )

    def agreement(self, reviewed: Sequence[ReviewedEntry]) -> list[float]:
        """The Dice between the masks of each entry that several people kept, the mean over pairs.

        Raises LimnerError as `mask` does.
        """
        dice = [self._dice_between(entry) for entry in reviewed if len(entry.kept) > 1]
        return [value for value in dice if not np.isnan(value)]

    def agreement_by_reviewer(self) -> dict[str, float]:
        """The mean Dice of each person's masks with those that others drew of the same images.

        Raises LimnerError as `mask` does.
        """
        dice: dict[str, list[float]] = {}
        for entry in self.reviewed_entries():
            masks = {event.reviewer: self.mask(entry.entry, event) for event in entry.kept}
            for pair in combinations(masks, 2):
                value = dice_between(masks[pair[0]], masks[pair[1]], self.predictions.labels)
                for name in pair:
                    dice.setdefault(name, []).append(value)
        return _means(dice)

    def dice_with_consensus(
        self, reviewed: Sequence[ReviewedEntry], settlement: Settlement
    ) -> dict[str, float]:
        """The mean Dice of each person's masks with the consensus, where people differ.

        Raises LimnerError as `mask` does.
        """
        dice: dict[str, list[float]] = {}
        for entry in reviewed:
            events = entry.counted_events(settlement)
            if len(events) < 2 or entry.is_rejected(settlement):
                continue
            agreed = self.settled_mask(entry, settlement)
            for event in events:
                mask = self.mask(entry.entry, event)
                own = dice_between(mask, agreed, self.predictions.labels)
                dice.setdefault(event.reviewer, []).append(own)
        return _means(dice)

    def describe_difference(self, reviewed: ReviewedEntry) -> str:
        """Who said what of an entry, and the Dice between the masks that were kept."""
        verdicts = " and ".join(
            f"{event.reviewer} ({VERDICT_NAMES[event.verdict]})" for event in reviewed.events
        )
        try:
            dice = self._dice_between(reviewed) if len(reviewed.kept) > 1 else np.nan
        except LimnerError:
            # A mask was changed, which is a conflict of its own
            dice = np.nan
        difference = "" if np.isnan(dice) else f", by a Dice of {dice:.3f} between their masks"
        return f"{verdicts} differ{difference}"

    def _dice_between(self, reviewed: ReviewedEntry) -> float:
        masks = [self.mask(reviewed.entry, event) for event in reviewed.kept]
        labels = self.predictions.labels
        dice = [dice_between(*pair, labels) for pair in combinations(masks, 2)]
        return _means({"": dice}).get("", np.nan)


def _means(dice: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean for each name, in their order. Masks that are both empty have no Dice."""
    known = {name: [value for value in values if value == value] for name, values in dice.items()}
    return {name: float(np.mean(values)) for name, values in sorted(known.items()) if values}


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
    if store is None and folder.is_dir() and not (folder / STORE_FOLDER).is_dir():
        raise LimnerError(f"{folder} was not reviewed. Begin with: limner review {folder}")
    predictions = read_predictions(folder, progress)
    with closing(open_store(folder, store)) as opened:
        yield ReviewResults(predictions, opened)


def open_store(folder: Path, url: str | None = None) -> ReviewStore:
    """The store at a URL, or beside the predictions, where it is created if missing."""
    return ReviewStore(url) if url else ReviewStore.in_folder(folder / STORE_FOLDER)

"""Masks that number objects one by one, 1 to n, told apart from masks of classes.

The numbers of classes mean the same in every image, and a class may have several parts. The numbers
of objects mean nothing, their count differs from image to image, and each has one part.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt
from numpy import ndarray

from limner.data.value_histogram import Histograms
from limner.labels import VOID, Labels, labels_lines

NumberMeaning = Literal["objects", "undecided", "classes"]
EIGHT_NEIGHBOURS = np.ones((3, 3), np.bool_)
WHOLE_SHARE = 0.9
"""A number is of one part where its largest part has this share of its pixels. Objects need
this share of such numbers.
"""
MOST_OFTEN_SHARE = 0.8
"""Where more masks have the same count of numbers, the others may lack a class."""
MANY_NUMBERS = 6
"""So many numbers, in counts that differ, are seldom classes of one part each."""
FEW_MASKS = 4
"""Of fewer masks with several numbers nothing is concluded."""
MOST_LISTED = 64
"""So many classes are offered, a line each."""
COMPARED_PAIRS = 8
"""The sizes of so many pairs of numbers tell whether lower numbers are always larger or smaller."""
ORDERED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class MaskNumbers:
    """The numbers of one mask, in order, and the share of its pixels that each has."""

    shares: dict[int, float]

    @property
    def are_dense(self) -> bool:
        """Whether they run from 1 without a gap."""
        return max(self.shares) == len(self.shares)


def object_numbers(masks: Histograms) -> list[MaskNumbers]:
    """Give the numbers of each mask that has any. 0 is none, and neither is a 255 that is void."""
    left_out = {0, VOID} if _has_void(masks) else {0}
    numbers = [
        {value: share for value, share in mask.shares.items() if value not in left_out}
        for mask in masks
    ]
    return [MaskNumbers(shares) for shares in numbers if shares]


def may_number_objects(numbers: Sequence[MaskNumbers]) -> bool:
    """Whether it is worth a look at the pixels."""
    counts = {len(mask.shares) for mask in numbers}
    several = sum(len(mask.shares) > 1 for mask in numbers)
    return _are_sparse(numbers) or len(counts) > 2 or (len(counts) == 2 and several >= FEW_MASKS)


def judge_numbers(numbers: Sequence[MaskNumbers], whole_share: float) -> NumberMeaning:
    """Judge whether numbers are those of objects or of classes.

    Args:
        numbers: Of each mask that has any, as `may_number_objects` took them.
        whole_share: The share of the numbers that have one part in their mask.
    """
    if whole_share < WHOLE_SHARE:
        return "classes"
    counts = Counter(len(mask.shares) for mask in numbers)
    holders = Counter(number for mask in numbers for number in mask.shares)
    dense_share = sum(mask.are_dense for mask in numbers) / len(numbers)
    often_share = counts.most_common(1)[0][1] / len(numbers)
    pairs, larger_share = _compare_sizes(numbers)
    are_alike = 1 - ORDERED_SHARE <= larger_share <= ORDERED_SHARE
    if _are_sparse(numbers) or (
        len(counts) > 2
        and (
            (dense_share >= WHOLE_SHARE and often_share <= MOST_OFTEN_SHARE)
            or len(holders) >= MANY_NUMBERS
            # Every mask with objects may have number 1, and few have the highest
            or (
                pairs >= COMPARED_PAIRS
                and are_alike
                and holders[min(holders)] >= holders[max(holders)]
            )
        )
    ):
        return "objects"
    return "undecided" if are_alike and pairs >= FEW_MASKS else "classes"


def count_unbroken_numbers(values: UInt[ndarray, "h w"], numbers: Sequence[int]) -> int:
    """Count the numbers whose rows and columns have no gap: all that have one part, and more.

    It is quick, and spares most sets of classes the count of parts, whose import takes 0.7 s.
    """
    unbroken = 0
    for number in numbers:
        pixels = values == number
        runs = [_largest_run(np.count_nonzero(pixels, axis)) for axis in (0, 1)]
        unbroken += bool(min(runs) >= WHOLE_SHARE * np.count_nonzero(pixels))
    return unbroken


def count_whole_numbers(values: UInt[ndarray, "h w"], numbers: Sequence[int]) -> int:
    """Count the numbers that have one part in a mask's pixels."""
    from scipy import ndimage

    distinct, inverse = np.unique(values, return_inverse=True)
    compact = inverse.reshape(values.shape) + 1
    windows = ndimage.find_objects(compact)
    whole = 0
    for number in numbers:
        index = int(np.searchsorted(distinct, number))
        pixels = compact[windows[index]] == index + 1
        parts, _ = ndimage.label(pixels, EIGHT_NEIGHBOURS)
        sizes = np.bincount(parts.ravel())[1:]
        whole += bool(sizes.max() >= WHOLE_SHARE * sizes.sum())
    return whole


def both_readings(masks: Histograms) -> str:
    """Offer the lines of a labels.toml for one class of objects, and for a class each."""
    values = {value for mask in masks for value in mask.shares}
    numbers = sorted({number for mask in object_numbers(masks) for number in mask.shares})
    void = (VOID,) if _has_void(masks) else ()
    # The range has room for numbers that other masks of the same kind have
    last = VOID - 1 if void else (65535 if numbers[-1] <= 65535 else 4294967295)
    objects = Labels(
        ("background", "object"), (((0, 0),), ((1, last),)), tuple((v, v) for v in void)
    )
    text = (
        "Where each number is an object, save this as labels.toml at the top of the dataset, and "
        f"all objects are one class:\n{labels_lines(objects)}\n  "
    )
    if len(numbers) > MOST_LISTED:
        return text + f"For classes, {len(numbers)} are too many to be told by their numbers."
    named = [(0, "background")] * (0 in values) + [(n, f"class {n}") for n in numbers]
    classes = Labels.from_values([name for _, name in named], [v for v, _ in named], void)
    return text + f"Where each number is a class, save this instead:\n{labels_lines(classes)}"


def _largest_run(counts: Int64[ndarray, " n"]) -> int:
    """The largest sum of neighbours that are not 0."""
    filled = counts > 0
    starts = np.flatnonzero(filled & ~np.concatenate([[False], filled[:-1]]))
    return int(np.add.reduceat(counts, starts).max())


def _has_void(masks: Histograms) -> bool:
    """Whether 255 stands apart from the numbers, as void does."""
    values = {value for mask in masks for value in mask.shares}
    return VOID in values and VOID - 1 not in values and max(values) == VOID


def _are_sparse(numbers: Sequence[MaskNumbers]) -> bool:
    """Whether there are many numbers, and hardly one is in two masks."""
    holders = Counter(number for mask in numbers for number in mask.shares)
    return len(holders) >= MANY_NUMBERS and holders.total() < 2 * len(holders)


def _compare_sizes(numbers: Sequence[MaskNumbers]) -> tuple[int, float]:
    """Count the pairs of numbers in one mask, and the share of which the lower one is larger."""
    pairs = [
        (mask.shares[low], mask.shares[high])
        for mask in numbers
        for low, high in combinations(sorted(mask.shares)[:MANY_NUMBERS], 2)
    ]
    larger = sum((low > high) + (low == high) / 2 for low, high in pairs)
    return len(pairs), larger / max(1, len(pairs))

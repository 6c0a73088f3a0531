"""Confusion counts, and the one definition of Dice, Jaccard and their kin.

The empty case: where a class is in neither the truth nor the prediction of an image, a binary set
scores 1 (as the ISIC scorer does) and a multi-class set leaves the image out of that class's mean.
Likewise sensitivity where the truth has none of the class, specificity where it has nothing else,
and precision where the prediction has none.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float64, Int64, Num, UInt8
from numpy import ndarray
from numpy.typing import ArrayLike

from limner.labels import VOID, Labels

JACCARD_THRESHOLD = 0.65
"""Below it ISIC 2018 counts a Jaccard as 0 (arXiv:1902.03368)."""

Counts = Num[ndarray, "*shape 4"]
"""True positives, false positives, false negatives and true negatives, in pixels."""


def confusion_counts(
    prediction: UInt8[ndarray, "h w"], truth: UInt8[ndarray, "h w"], classes: int
) -> Int64[ndarray, "k 4"]:
    """True positives, false positives, false negatives and true negatives of each class, in pixels;
    `VOID` pixels of the truth are left out.
    """
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * classes + prediction[valid]
    return one_vs_rest(np.bincount(pairs, minlength=classes * classes).reshape(classes, classes))


def one_vs_rest(table: Int64[ndarray, "*shape k k"]) -> Int64[ndarray, "*shape k 4"]:
    """The counts of each class, from how many pixels of each true class (rows) were taken for each
    class (columns).
    """
    hit = np.diagonal(table, axis1=-2, axis2=-1)
    false, missed = table.sum(-2) - hit, table.sum(-1) - hit
    return np.stack(
        [hit, false, missed, table.sum((-2, -1))[..., None] - hit - false - missed], axis=-1
    )


def dice(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """2 |A∩B| / (|A| + |B|), in 0..1; `empty` where both are empty."""
    hit, false, missed, _ = np.moveaxis(counts, -1, 0)
    return _ratio(2 * hit, 2 * hit + false + missed, empty)


def jaccard(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """|A∩B| / |A∪B|, in 0..1; `empty` where both are empty."""
    hit, false, missed, _ = np.moveaxis(counts, -1, 0)
    return _ratio(hit, hit + false + missed, empty)


def sensitivity(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """The share of the true pixels that were found, in 0..1; `empty` where there are none."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 2], empty)


def specificity(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """The share of all other pixels that were left alone, in 0..1; `empty` where there are none."""
    return _ratio(counts[..., 3], counts[..., 3] + counts[..., 1], empty)


def precision(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """The share of the predicted pixels that are true, in 0..1; `empty` where there are none."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 1], empty)


def accuracy(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """The share of the pixels that are right, in 0..1; `empty` where all are void."""
    return _ratio(counts[..., 0] + counts[..., 3], counts.sum(-1), empty)


OVERLAP_METRICS: Mapping[str, Callable[..., Float64[ndarray, "*shape"]]] = {
    "dice": dice,
    "jaccard": jaccard,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "accuracy": accuracy,
}
"""By the names that tables and files use."""


def thresholded_jaccard(
    score: Float64[ndarray, "*shape"], threshold: float = JACCARD_THRESHOLD
) -> Float64[ndarray, "*shape"]:
    """The score where it reaches the threshold, else 0: ISIC 2018's thresholded Jaccard."""
    return np.where(score >= threshold, score, np.where(np.isnan(score), np.nan, 0.0))


def mean_over_classes(values: Float64[ndarray, "n k"]) -> Float64[ndarray, " n"]:
    """Of each image the mean over the classes that have a score; not a number where none has."""
    present = ~np.isnan(values)
    return np.where(
        present.any(1), np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1), np.nan
    )


def image_dice(
    class_index: UInt8[ndarray, "h w"], truth: UInt8[ndarray, "h w"], labels: Labels
) -> float:
    """The Dice of one mask, the mean over the scored classes that it or the truth has; not a number
    where there is none.
    """
    per_class = dice(
        confusion_counts(class_index, truth, len(labels.names)),
        empty=1.0 if labels.binary else float("nan"),
    )[list(labels.scored)]
    return float(mean_over_classes(per_class[None])[0])


def _ratio(
    numerator: ArrayLike, denominator: ArrayLike, empty: float
) -> Float64[ndarray, "*shape"]:
    """Elementwise; of the counts of one class alone, an array without axes."""
    return np.asarray(
        np.where(np.asarray(denominator) > 0, numerator / np.maximum(denominator, 1), empty)
    )

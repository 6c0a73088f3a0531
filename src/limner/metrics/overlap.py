"""Confusion counts, and the one definition of Dice, Jaccard and their kin.

The empty case: a class may be in neither the truth nor the prediction of an image. A binary set
then scores 1, as the ISIC scorer does. A multi-class set leaves the image out of that class's mean.
The same holds for every ratio whose denominator is 0: for sensitivity where the truth has none of
the class, for specificity where it has nothing else, for precision where the prediction has none.

The void case: where every pixel of an image is void, nothing was compared, and every score is NaN.
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
    """Count true and false positives and negatives of each class, in pixels.

    The arguments are those of `confusion_table`.
    """
    return one_vs_rest(confusion_table(prediction, truth, classes))


def confusion_table(
    prediction: UInt8[ndarray, "h w"], truth: UInt8[ndarray, "h w"], classes: int
) -> Int64[ndarray, "k k"]:
    """Count the pixels of each true class (in rows) that are predicted as each class (in columns).

    Args:
        prediction: class indices, none of them `VOID`.
        truth: class indices; `VOID` pixels are left out.
        classes: how many classes there are.
    """
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * classes + prediction[valid]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def one_vs_rest(table: Int64[ndarray, "*shape k k"]) -> Int64[ndarray, "*shape k 4"]:
    """Turn confusion matrices (true classes in rows, predicted in columns) into counts by class."""
    true_positives = np.diagonal(table, axis1=-2, axis2=-1)
    false_positives = table.sum(-2) - true_positives
    false_negatives = table.sum(-1) - true_positives
    total = table.sum((-2, -1))[..., None]
    true_negatives = total - true_positives - false_positives - false_negatives
    return np.stack([true_positives, false_positives, false_negatives, true_negatives], axis=-1)


def dice(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute Dice, 2 |A∩B| / (|A| + |B|), in 0..1; `empty` where both are empty."""
    true_positives, false_positives, false_negatives, _ = np.moveaxis(counts, -1, 0)
    denominator = 2 * true_positives + false_positives + false_negatives
    return _ratio(2 * true_positives, denominator, counts, empty)


def jaccard(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute Jaccard, |A∩B| / |A∪B|, in 0..1; `empty` where both are empty."""
    true_positives, false_positives, false_negatives, _ = np.moveaxis(counts, -1, 0)
    denominator = true_positives + false_positives + false_negatives
    return _ratio(true_positives, denominator, counts, empty)


def sensitivity(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute the share of positive pixels that are predicted so, in 0..1.

    It is `empty` where there are none.
    """
    true_positives, _, false_negatives, _ = np.moveaxis(counts, -1, 0)
    return _ratio(true_positives, true_positives + false_negatives, counts, empty)


def specificity(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute the share of negative pixels that are predicted so, in 0..1.

    It is `empty` where there are none.
    """
    _, false_positives, _, true_negatives = np.moveaxis(counts, -1, 0)
    return _ratio(true_negatives, true_negatives + false_positives, counts, empty)


def precision(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute the share of predicted pixels that are right, in 0..1.

    It is `empty` where there are none.
    """
    true_positives, false_positives, _, _ = np.moveaxis(counts, -1, 0)
    return _ratio(true_positives, true_positives + false_positives, counts, empty)


def accuracy(counts: Counts, empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """Compute the share of all pixels that are right, in 0..1."""
    true_positives, _, _, true_negatives = np.moveaxis(counts, -1, 0)
    return _ratio(true_positives + true_negatives, counts.sum(-1), counts, empty)


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
    """Set a Jaccard below the threshold to 0, as ISIC 2018 does; NaN stays."""
    return np.where(score >= threshold, score, np.where(np.isnan(score), np.nan, 0.0))


def empty_score(labels: Labels) -> float:
    """Return the score of a class that is in neither mask: 1 in a binary set, else NaN."""
    return 1.0 if labels.binary else float("nan")


def mean_over_classes(values: Float64[ndarray, "n k"]) -> Float64[ndarray, " n"]:
    """Average each image over the classes that have a score; NaN where none has."""
    present = ~np.isnan(values)
    sums, counts = np.where(present, values, 0).sum(1), present.sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def image_dice(
    class_index: UInt8[ndarray, "h w"], truth: UInt8[ndarray, "h w"], labels: Labels
) -> float:
    """Compute the Dice of one mask, the mean over the scored classes that either mask has.

    It is NaN where there is no such class.

    Args:
        class_index: the predicted class indices.
        truth: the true ones; `VOID` pixels are left out.
        labels: the classes.
    """
    counts = confusion_counts(class_index, truth, len(labels.names))
    per_class = dice(counts, empty_score(labels))[list(labels.scored)]
    return float(mean_over_classes(per_class[None])[0])


def _ratio(
    numerator: ArrayLike, denominator: ArrayLike, counts: Counts, empty: float
) -> Float64[ndarray, "*shape"]:
    """Divide elementwise; `empty` where the denominator is 0, NaN where nothing was counted.

    The counts of a single class give an array without axes.
    """
    without = np.where(counts.sum(-1) > 0, empty, np.nan)
    return np.asarray(
        np.where(np.asarray(denominator) > 0, numerator / np.maximum(denominator, 1), without)
    )

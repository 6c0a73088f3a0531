"""Confusion counts, and the one definition of Dice, Jaccard and their kin.

The empty case: where a class is in neither the truth nor the prediction of an image, a binary set scores 1 (as the
ISIC scorer does) and a multi-class set leaves the image out of that class's mean.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from numpy import ndarray

from limner.labels import VOID

JACCARD_THRESHOLD = 0.65
"""Below it ISIC 2018 counts a Jaccard as 0 (arXiv:1902.03368)."""


def confusion(prediction: UInt8[ndarray, "h w"], truth: UInt8[ndarray, "h w"], classes: int) -> Int64[ndarray, "k 3"]:
    """True positives, false positives and false negatives of each class, in pixels; `VOID` pixels of the truth are left out."""
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * classes + prediction[valid]
    table = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    true_positives = np.diagonal(table)
    return np.stack([true_positives, table.sum(0) - true_positives, table.sum(1) - true_positives], axis=1)


def dice(counts: Int64[ndarray, "*shape 3"], empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """2 |A∩B| / (|A| + |B|), in 0..1; `empty` where both are empty."""
    true_positives, false_positives, false_negatives = np.moveaxis(counts, -1, 0)
    return _ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives, empty)


def jaccard(counts: Int64[ndarray, "*shape 3"], empty: float = 1.0) -> Float64[ndarray, "*shape"]:
    """|A∩B| / |A∪B|, in 0..1; `empty` where both are empty."""
    true_positives = counts[..., 0]
    return _ratio(true_positives, counts.sum(-1), empty)


def thresholded(score: Float64[ndarray, "*shape"], threshold: float = JACCARD_THRESHOLD) -> Float64[ndarray, "*shape"]:
    """The score where it reaches the threshold, else 0: ISIC 2018's thresholded Jaccard."""
    return np.where(score >= threshold, score, np.where(np.isnan(score), np.nan, 0.0))


def _ratio(numerator: Int64[ndarray, "*shape"], denominator: Int64[ndarray, "*shape"], empty: float) -> Float64[ndarray, "*shape"]:
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), empty)

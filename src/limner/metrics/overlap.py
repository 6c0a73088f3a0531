"""Confusion counts, the one definition of Dice, Jaccard and their kin, and the intervals of their
means.

The empty case: where a class is in neither the truth nor the prediction of an image, a binary set
scores 1 (as the ISIC scorer does) and a multi-class set leaves the image out of that class's mean.
Likewise sensitivity where the truth has none of the class, specificity where it has nothing else,
and precision where the prediction has none.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Float64, Int64, Num, UInt8
from numpy import ndarray
from numpy.typing import ArrayLike

from limner.labels import VOID, Labels

JACCARD_THRESHOLD = 0.65
"""Below it ISIC 2018 counts a Jaccard as 0 (arXiv:1902.03368)."""
RESAMPLES = 2000
"""Of the bootstrap (Efron, 1979; doi:10.1214/aos/1176344552)."""

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


def paired_scores(scores: Float64[ndarray, "n 2"]) -> Float64[ndarray, "m 2"]:
    """Pairs of scores of the same images, those left out in which there was nothing for either.

    Where there was nothing and one drew nothing, it has no score and was right: 1 stands beside the
    score of the other, which drew something.
    """
    known = ~np.isnan(scores)
    return np.where(known, scores, 1.0)[known.any(1)]


def bootstrap_mean_interval(values: Float64[ndarray, "n m"]) -> Float64[ndarray, "m 2"]:
    """The 95 % interval of each column's mean over images, by the bootstrap's percentiles; what is
    not a number is left out.
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    return bootstrap_interval(len(values), lambda drawn: _over(drawn @ filled, drawn @ present))


def bootstrap_interval(
    count: int, statistic: Callable[[Float64[ndarray, "r n"]], Float64[ndarray, "r m"]]
) -> Float64[ndarray, "m 2"]:
    """The 95 % interval of statistics of `count` images, given how often each image was drawn; the
    same draws every time.
    """
    drawn = np.concatenate([statistic(weights) for weights in _resamples(count)])
    known = [column[~np.isnan(column)] for column in drawn.T]
    return np.array(
        [
            np.percentile(column, [2.5, 97.5]) if len(column) else [np.nan, np.nan]
            for column in known
        ]
    )


def is_significant_gain(better: Float64[ndarray, " n"], base: Float64[ndarray, " n"]) -> bool:
    """Whether scores of the same images are higher on average by more than chance has it: the
    interval of the difference lies above 0.
    """
    pairs = paired_scores(np.stack([better, base], axis=1))
    return bool(bootstrap_mean_interval(pairs[:, :1] - pairs[:, 1:])[0, 0] > 0)


def _resamples(count: int) -> Iterator[Float64[ndarray, "r n"]]:
    rng = np.random.default_rng(0)
    rows = max(1, min(RESAMPLES, 20_000_000 // max(count, 1)))
    for first in range(0, RESAMPLES, rows):
        yield rng.multinomial(
            count, np.full(count, 1 / count), size=min(rows, RESAMPLES - first)
        ).astype(np.float64)


def _over(
    sums: Float64[ndarray, "r m"], counts: Float64[ndarray, "r m"]
) -> Float64[ndarray, "r m"]:
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _ratio(
    numerator: ArrayLike, denominator: ArrayLike, empty: float
) -> Float64[ndarray, "*shape"]:
    """Elementwise; of the counts of one class alone, an array without axes."""
    return np.asarray(
        np.where(np.asarray(denominator) > 0, numerator / np.maximum(denominator, 1), empty)
    )

"""Bootstrap confidence intervals of means and of paired differences.

The percentile bootstrap over images (Efron, 1979; doi:10.1214/aos/1176344552), with a fixed seed:
the same scores always give the same interval.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

RESAMPLES = 2000
"""How often the images are resampled for one interval."""
PERCENTILES = (2.5, 97.5)
"""The ends of a 95 % interval."""
MAX_WEIGHTS = 20_000_000
"""How many resampling weights are in memory at once: 160 MB."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean scores of two methods on the same images, and their difference (second less first).

    Every number is NaN where there is no pair.
    """

    first: float
    second: float
    difference: float
    low: float
    """The lower end of the 95 % interval of the difference."""
    high: float
    pairs: int
    """Images in which at least one of the two has a score."""
    wins: int
    """Images on which the second scores higher."""
    losses: int

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the 95 % interval of the difference."""
        return self.low, self.high

    @property
    def is_gain(self) -> bool:
        """Whether the second is better by more than chance explains: the interval lies above 0."""
        return self.low > 0

    @property
    def ties(self) -> int:
        """Images on which both score the same."""
        return self.pairs - self.wins - self.losses


def paired_difference(
    first: Float64[ndarray, " n"], second: Float64[ndarray, " n"]
) -> PairedDifference:
    """Compare two methods by their scores on the same images.

    Args:
        first: a score of each image; NaN where there is none (see `paired_scores`).
        second: the other method's scores of the same images, in the same order.
    """
    pairs = paired_scores(np.stack([first, second], axis=1))
    if not len(pairs):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, nan, nan, pairs=0, wins=0, losses=0)
    differences = pairs[:, 1] - pairs[:, 0]
    low, high = bootstrap_mean_interval(differences[:, None])[0]
    return PairedDifference(
        first=float(pairs[:, 0].mean()),
        second=float(pairs[:, 1].mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        pairs=len(pairs),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
    )


def paired_scores(scores: Float64[ndarray, "n 2"]) -> Float64[ndarray, "m 2"]:
    """Drop the images for which neither method has a score, and complete the other pairs.

    A score is missing (NaN) where neither the truth nor the prediction holds a scored class. The
    method that predicted nothing was right there: it gets 1 beside the score of the other method,
    which predicted something.
    """
    present = ~np.isnan(scores)
    return np.where(present, scores, 1.0)[present.any(1)]


def bootstrap_mean_interval(values: Float64[ndarray, "n m"]) -> Float64[ndarray, "m 2"]:
    """Estimate the 95 % interval of each column's mean over images.

    NaN values are left out. The interval is NaN where a column has no value.
    """
    if not len(values):
        return np.full((values.shape[1], 2), np.nan)
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)

    def means(weights: Float64[ndarray, "r n"]) -> Float64[ndarray, "r m"]:
        sums, counts = weights @ filled, weights @ present
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    return bootstrap_interval(len(values), means)


def bootstrap_interval(
    count: int, statistic: Callable[[Float64[ndarray, "r n"]], Float64[ndarray, "r m"]]
) -> Float64[ndarray, "m 2"]:
    """Estimate the 95 % intervals of statistics of `count` images.

    Args:
        count: the number of images, at least 1.
        statistic: computes m statistics of each of r resamples. Its argument, of shape (r, n),
            counts how often image n is in resample r. Resamples in which a statistic is NaN are
            left out.
    """
    statistics = np.concatenate([statistic(weights) for weights in _resampling_weights(count)])
    present = [column[~np.isnan(column)] for column in statistics.T]
    return np.array(
        [
            np.percentile(column, PERCENTILES) if len(column) else [np.nan, np.nan]
            for column in present
        ]
    )


def _resampling_weights(count: int) -> Iterator[Float64[ndarray, "r n"]]:
    """Draw how often each image is in each resample, a block of resamples at a time."""
    rng = np.random.default_rng(0)
    block = max(1, min(RESAMPLES, MAX_WEIGHTS // max(count, 1)))
    for start in range(0, RESAMPLES, block):
        yield rng.multinomial(
            count, np.full(count, 1 / count), size=min(block, RESAMPLES - start)
        ).astype(np.float64)

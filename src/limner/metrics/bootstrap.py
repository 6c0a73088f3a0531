"""Bootstrap confidence intervals of means and of paired differences.

The percentile bootstrap over images (Efron, 1979; doi:10.1214/aos/1176344552), with a fixed seed:
the same scores always give the same interval.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

RESAMPLES = 2000
"""How often the images are resampled for one interval."""
PERCENTILES = (2.5, 97.5)
"""The ends of a 95 % interval."""
MIN_INTERVAL_IMAGES = 2
"""One image says nothing of how images differ, so it gives no interval."""
MIN_DECISION_IMAGES = 10
"""Fewest images by which two methods are told apart.

The percentile bootstrap is too narrow on few: of two images that both gain a little it is certain.
"""
MAX_WEIGHTS = 20_000_000
"""How many resampling weights are in memory at once: 160 MB."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean scores of two methods on the same images, and their difference (second less first).

    Every number is NaN where there is no pair, and the interval is NaN where there is one alone.
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
        """Whether the second is better by more than chance explains.

        The interval lies above 0, and there are `MIN_DECISION_IMAGES` pairs.
        """
        return self.decides and self.low > 0

    @property
    def is_loss(self) -> bool:
        """Whether the second is worse by more than chance explains."""
        return self.decides and self.high < 0

    @property
    def decides(self) -> bool:
        """Whether there are enough pairs to tell the two apart."""
        return self.pairs >= MIN_DECISION_IMAGES

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

    NaN values are left out. The interval is NaN where a column has fewer than
    `MIN_INTERVAL_IMAGES` values.
    """
    if not len(values):
        return np.full((values.shape[1], 2), np.nan)
    present = ~np.isnan(values)
    enough = present.sum(0) >= MIN_INTERVAL_IMAGES
    filled = np.where(present, values, 0.0)

    def means(weights: Float64[ndarray, "r n"]) -> Float64[ndarray, "r m"]:
        sums, counts = weights @ filled, weights @ present
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    return np.where(enough[:, None], bootstrap_interval(len(values), means), np.nan)


def bootstrap_interval(
    count: int, statistic: Callable[[Float64[ndarray, "r n"]], Float64[ndarray, "r m"]]
) -> Float64[ndarray, "m 2"]:
    """Estimate the 95 % intervals of statistics of `count` images.

    Args:
        count: the number of images, at least 1.
        statistic: computes m statistics of each of r resamples. Its argument, of shape (r, n),
            counts how often image n is in resample r. Resamples in which a statistic is NaN are
            left out. Of a single image every interval is NaN.
    """
    if count < MIN_INTERVAL_IMAGES:
        return np.full((statistic(np.ones((1, count))).shape[1], 2), np.nan)
    statistics = np.concatenate([statistic(weights) for weights in _resampling_weights(count)])
    present = [column[~np.isnan(column)] for column in statistics.T]
    return np.array(
        [
            np.percentile(column, PERCENTILES) if len(column) else [np.nan, np.nan]
            for column in present
        ]
    )


def format_interval(interval: tuple[float, float], digits: int, *, signed: bool = False) -> str:
    """Spell an interval, "0.81 to 0.86"; "none" where there is none.

    Args:
        interval: both ends, or NaN.
        digits: after the decimal point.
        signed: whether a plus is written before what is above 0.
    """
    if math.isnan(interval[0]):
        return "none"
    low, high = (f"{end:{'+' if signed else ''}.{digits}f}" for end in interval)
    return f"{low} to {high}"


def _resampling_weights(count: int) -> Iterator[Float64[ndarray, "r n"]]:
    """Draw how often each image is in each resample, a block of resamples at a time."""
    rng = np.random.default_rng(0)
    block = max(1, min(RESAMPLES, MAX_WEIGHTS // max(count, 1)))
    for start in range(0, RESAMPLES, block):
        yield rng.multinomial(
            count, np.full(count, 1 / count), size=min(block, RESAMPLES - start)
        ).astype(np.float64)

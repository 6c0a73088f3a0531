"""Confidence intervals of means, of other statistics of images, and of paired differences.

The interval of a mean is Student's t, which keeps its level on five images as on five hundred; the
percentile bootstrap is too narrow on few (of ten images it misses the mean 10 times in 100, where 5
were meant). Where several images are of one patient or film, they are not independent: they are
counted as groups, by the cluster-robust standard error CR2 and the degrees of freedom of Bell and
McCaffrey (Imbens and Kolesár, 2016; doi:10.1162/REST_a_00552).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from limner.plurals import count_noun

LEVEL = 0.95
RESAMPLES = 2000
"""How often the images are resampled for the standard error of a statistic that is not a mean."""
MIN_INTERVAL_IMAGES = 2
"""One image, or one group, says nothing of how images differ, so it gives no interval."""
MIN_DECISION_IMAGES = 10
"""Fewest images by which two methods are told apart."""
MAX_WEIGHTS = 20_000_000
"""How many resampling weights are in memory at once: 160 MB."""
Groups = Sequence[str | None]
"""For each image the name of its group, such as the patient; None for one that stands alone."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean scores of two methods on the same images, and their difference (second less first).

    Every number is NaN where there is no pair, and the interval is NaN where there is one alone.
    """

    first: float
    second: float
    difference: float
    low: float
    """The lower end of the difference's interval, of 95 % where one comparison is made."""
    high: float
    pairs: int
    """Images in which at least one of the two has a score."""
    groups: int
    """Groups of them, such as patients; as many as pairs where each stands alone."""
    wins: int
    """Images on which the second scores higher."""
    losses: int

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the difference's interval."""
        return self.low, self.high

    @property
    def is_gain(self) -> bool:
        """Whether the second is better by more than chance explains.

        The interval lies above 0, and there are `MIN_DECISION_IMAGES` images in as many groups.
        """
        return self.decides and self.low > 0

    @property
    def is_loss(self) -> bool:
        """Whether the second is worse by more than chance explains."""
        return self.decides and self.high < 0

    @property
    def decides(self) -> bool:
        """Whether there are enough images in groups of their own to tell the two apart."""
        return self.groups >= MIN_DECISION_IMAGES

    @property
    def doubt(self) -> str:
        """Why the two cannot be told apart, in words; empty where there are enough images."""
        if self.decides:
            return ""
        groups = f" of {count_noun(self.groups, 'group')}" if self.groups < self.pairs else ""
        verb = "is" if self.pairs == 1 else "are"
        return (
            f"{count_noun(self.pairs, 'image')}{groups} {verb} too few to tell the two apart: "
            f"{MIN_DECISION_IMAGES} are needed."
        )

    @property
    def ties(self) -> int:
        """Images on which both score the same."""
        return self.pairs - self.wins - self.losses


def paired_difference(
    first: Float64[ndarray, " n"],
    second: Float64[ndarray, " n"],
    groups: Groups | None = None,
    *,
    comparisons: int = 1,
    picked_from: Float64[ndarray, "n t"] | None = None,
) -> PairedDifference:
    """Compare two methods by their scores on the same images.

    Args:
        first: a score of each image; NaN where there is none (see `paired_scores`).
        second: the other method's scores of the same images, in the same order.
        groups: what images are not independent; None where each stands alone.
        comparisons: how many differences are looked at to choose one of them. The interval is
            widened so that all of them together keep their level (Bonferroni).
        picked_from: the scores of all candidates of which `second` is the best, such as one for
            each threshold. The interval is widened by what the best of them gains by chance.
    """
    scores = np.stack([first, second], axis=1)
    pairs = paired_scores(scores)
    if not len(pairs):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, nan, nan, pairs=0, groups=0, wins=0, losses=0)
    present = (~np.isnan(scores)).any(1)
    index = _group_index(len(first), groups)[present]
    differences = pairs[:, 1] - pairs[:, 0]
    error, freedom = _standard_error(differences, index)
    reach = _t_quantile(1 - (1 - LEVEL) / comparisons / 2, freedom)
    if picked_from is not None:
        gains = np.where(np.isnan(picked_from), 1.0, picked_from)[present] - pairs[:, :1]
        reach = max(reach, _largest_by_chance(gains, index))
    low, high = differences.mean() - reach * error, differences.mean() + reach * error
    return PairedDifference(
        first=float(pairs[:, 0].mean()),
        second=float(pairs[:, 1].mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        pairs=len(pairs),
        groups=len(np.unique(index)),
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


def mean_interval(
    values: Float64[ndarray, "n m"],
    groups: Groups | None = None,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Float64[ndarray, "m 2"]:
    """Estimate the 95 % interval of each column's mean over images.

    Args:
        values: m values of each image. NaN is left out.
        groups: what images are not independent; None where each stands alone.
        bounds: no mean can lie outside, so no end does: 0 and 1 for a Dice.

    The interval is NaN where a column has values of fewer than `MIN_INTERVAL_IMAGES` groups.
    """
    index, present = _group_index(len(values), groups), ~np.isnan(values)
    intervals = [
        _student_interval(column[rows], index[rows])
        for column, rows in zip(values.T, present.T, strict=True)
    ]
    return np.clip(np.array(intervals).reshape(-1, 2), *bounds)


def statistic_interval(
    count: int,
    statistic: Callable[[Float64[ndarray, "r n"]], Float64[ndarray, "r m"]],
    groups: Groups | None = None,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Float64[ndarray, "m 2"]:
    """Estimate the 95 % intervals of statistics of `count` images that are not means over them.

    Their standard error is that of the bootstrap (Efron, 1979; doi:10.1214/aos/1176344552), in
    which whole groups are drawn, with a fixed seed: the same images always give the same interval.

    Args:
        count: the number of images, at least 1.
        statistic: computes m statistics of each of r resamples. Its argument, of shape (r, n),
            counts how often image n is in resample r. Resamples in which a statistic is NaN are
            left out. Of a single group every interval is NaN.
        groups: what images are not independent; None where each stands alone.
        bounds: no statistic can lie outside, so no end does.
    """
    estimate = statistic(np.ones((1, count)))[0]
    index = _group_index(count, groups)
    sizes = np.bincount(index)
    if len(sizes) < MIN_INTERVAL_IMAGES:
        return np.full((len(estimate), 2), np.nan)
    resampled = np.concatenate(
        [statistic(weights[:, index]) for weights in _resampling_weights(len(sizes), count)]
    )
    present = ~np.isnan(resampled)
    counts = present.sum(0)
    centre = np.where(present, resampled, 0).sum(0) / np.maximum(counts, 1)
    squares = (np.where(present, resampled - centre, 0) ** 2).sum(0)
    # A resample varies less than the images do, by one of so many groups
    scale = len(sizes) / (len(sizes) - 1)
    errors = np.sqrt(np.where(counts > 1, squares / np.maximum(counts - 1, 1) * scale, np.nan))
    reach = _t_quantile((1 + LEVEL) / 2, _degrees_of_freedom(sizes)) * errors
    return np.clip(np.stack([estimate - reach, estimate + reach], axis=1), *bounds)


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


def _group_index(count: int, groups: Groups | None) -> Int64[ndarray, " n"]:
    """The group of each image as a number from 0 on."""
    if groups is None:
        return np.arange(count)
    keys = [("group", name) if name else ("image", row) for row, name in enumerate(groups)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def _student_interval(
    values: Float64[ndarray, " n"], index: Int64[ndarray, " n"]
) -> tuple[float, float]:
    """The 95 % interval of a mean of values in groups; NaN of a single group."""
    error, freedom = _standard_error(values, index)
    if math.isnan(error):
        return math.nan, math.nan
    reach = _t_quantile((1 + LEVEL) / 2, freedom) * error
    return float(values.mean() - reach), float(values.mean() + reach)


def _t_quantile(share: float, freedom: float) -> float:
    """The value below which Student's t lies with a probability of `share`."""
    # scipy.stats takes half a second to import, which commands that predict would wait for
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def _standard_error(
    values: Float64[ndarray, " n"], index: Int64[ndarray, " n"]
) -> tuple[float, float]:
    """The standard error of a mean of values in groups, and its degrees of freedom.

    Both are NaN of a single group.
    """
    sizes = np.bincount(np.unique(index, return_inverse=True)[1])
    if len(sizes) < MIN_INTERVAL_IMAGES:
        return math.nan, math.nan
    residuals = _group_sums((values - values.mean())[:, None], index)[:, 0]
    error = math.sqrt((residuals**2 / (1 - sizes / len(values))).sum()) / len(values)
    return error, _degrees_of_freedom(sizes)


def _group_sums(
    values: Float64[ndarray, "n t"], index: Int64[ndarray, " n"]
) -> Float64[ndarray, "g t"]:
    """Sum the values of each group that occurs."""
    groups, rows = np.unique(index, return_inverse=True)
    sums = np.zeros((len(groups), values.shape[1]))
    np.add.at(sums, rows, values)
    return sums


def _largest_by_chance(gains: Float64[ndarray, "n t"], index: Int64[ndarray, " n"]) -> float:
    """How many standard errors the best of t candidates gains by chance, in 2.5 of 100 cases.

    Where nothing is gained the gains of each group might as well have the other sign. So signs are
    drawn many times, and each time the best candidate's t value is taken (Westfall and Young,
    1993).
    """
    sums = _group_sums(gains, index)
    squares = (sums**2).sum(0)
    sums, squares = sums[:, squares > 0], squares[squares > 0]
    if not sums.size or len(sums) < MIN_INTERVAL_IMAGES:
        return 0.0
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (RESAMPLES, len(sums)))
    totals = signs @ sums
    best = totals.argmax(1)
    total, count = totals[np.arange(RESAMPLES), best], len(sums)
    # All gains of one sign have no spread, and an infinite t value
    spread = np.maximum(squares[best] - total**2 / count, 1e-12 * squares[best])
    t_values = total / np.sqrt(spread * count / (count - 1))
    return float(np.quantile(t_values, (1 + LEVEL) / 2))


def _degrees_of_freedom(sizes: Int64[ndarray, " g"]) -> float:
    """Those of Student's t for groups of these sizes: one less than groups where all are equal.

    They are trace(C)^2 / trace(C^2) of the covariance C of the groups' residuals, where images of
    a group are alike.
    """
    shares, weights = sizes / sizes.sum(), sizes.astype(float) ** 2
    factors = 1 / (1 - shares)
    total = weights.sum()
    diagonal = factors * (weights - 2 * shares * weights + shares**2 * total)
    # The sum of the squares of all entries off the diagonal, which is a product of three sums
    by_share, by_weight, by_both = (
        (factors * term).sum() for term in (shares**2, weights**2, shares * weights)
    )
    pairs = 2 * by_share * by_weight + 2 * by_both**2
    pairs += total**2 * by_share**2 - 4 * total * by_share * by_both
    own = (factors * (total * shares**2 - 2 * shares * weights)) ** 2
    return float(diagonal.sum() ** 2 / (pairs - own.sum() + (diagonal**2).sum()))


def _resampling_weights(groups: int, images: int) -> Iterator[Float64[ndarray, "r g"]]:
    """Draw how often each group is in each resample, a block of resamples at a time."""
    rng = np.random.default_rng(0)
    block = max(1, min(RESAMPLES, MAX_WEIGHTS // images))
    for start in range(0, RESAMPLES, block):
        yield rng.multinomial(
            groups, np.full(groups, 1 / groups), size=min(block, RESAMPLES - start)
        ).astype(np.float64)

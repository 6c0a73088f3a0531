"""The choice of inference settings from the scores of validation images.

A setting is chosen only where it helps by more than chance explains: the interval of the paired
gain in mean Dice lies above 0. The interval is Student's t, over groups where there are any, and it
is widened by how many settings are tried for one purpose. On fewer than ten images nothing is
chosen that did not help on other sets.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numpy import ndarray

from limner.inference.calibration import to_class_index
from limner.inference.tta import TTA_TRANSFORMS
from limner.labels import VOID, Labels
from limner.metrics.intervals import Groups, PairedDifference, paired_difference
from limner.metrics.overlap import dice, image_dice
from limner.model.metadata import THRESHOLD, InferenceSettings, PostprocessSettings

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Candidates for the foreground threshold of a binary set: 0.05 to 0.95, 0.5 among them."""
TIE = 1e-4
"""Thresholds whose mean Dice differs by less are equally good: the nearest to 0.5 is chosen."""
MIN_AUGMENTATION_GAIN = 0.002
"""A smaller gain in Dice is not worth the additional passes through the network."""
USUAL_GAINS = {"flips": (0.004, 0.002)}
"""Mean and standard deviation, over datasets, of what an augmentation gains in mean Dice.

On test images it was 0.0026 to 0.0061; the deviation is an estimate from that range. It holds for a
network that saw mirrored images in training. What validation says is combined with it.
"""
NOT_TRIED = paired_difference(np.empty(0), np.empty(0))
"""The gain of a setting for which there was no time."""
POSTPROCESSING_ORDER = ("remove_small", "fill_holes", "keep_largest")
"""The order in which the steps are tried."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What one setting gains in mean Dice on validation."""

    name: str
    before: float
    """Mean Dice without the setting."""
    gain: float
    """Mean Dice with it, less that without."""
    low: float
    """Lower end of the gain's interval: of 95 %, widened by how many settings were tried."""
    high: float
    taken: bool
    """Whether the model uses the setting."""
    images: int
    """By how many images it was judged: those that have a score."""
    groups: int
    """Groups of them, such as patients; as many as images where each stands alone."""
    passes: int = 1
    """How often the network looks at an image with it."""
    usual_gain: float | None = None
    """What it gains on other datasets, where that counted too."""


def choose_settings(
    scores: Sequence[Mapping[str, Float64[ndarray, " t"]]],
    labels: Labels,
    groups: Groups | None = None,
    *,
    trained_mirrored: bool = False,
) -> tuple[InferenceSettings, list[TuningResult]]:
    """Choose threshold and augmentation.

    First the threshold without augmentation is chosen. Then each augmentation is tried, with a
    threshold of its own.

    Args:
        scores: for each image, its Dice at each of `THRESHOLDS` (one number where there are several
            classes) by the augmentation's name. Some images may have "none" alone. What no image
            has was not tried; it is taken all the same where it helped on other sets.
        labels: the classes.
        groups: what images are not independent, such as those of one patient.
        trained_mirrored: whether training mirrored images both ways, so that `USUAL_GAINS` hold.
    """
    default = int(np.searchsorted(THRESHOLDS, THRESHOLD)) if labels.binary else 0
    plain = np.stack([image["none"] for image in scores])  # (n, t)
    best, threshold_gain = _choose_threshold(plain, default, groups)
    results = [_result("threshold", threshold_gain)] if labels.binary else []
    tried = max(scores, key=len).keys()
    rows = [row for row, image in enumerate(scores) if image.keys() == tried]
    before, tta = plain[rows, best], "none"
    groups = None if groups is None else [groups[row] for row in rows]
    for name in list(TTA_TRANSFORMS)[1:]:
        usual = USUAL_GAINS.get(name) if trained_mirrored else None
        column, after, gain = best, before, NOT_TRIED
        if name in tried:
            table = np.stack([scores[row][name] for row in rows])
            column, _ = _choose_threshold(table, default, groups)
            after, comparisons = table[:, column], len(TTA_TRANSFORMS) - 1
            gain = paired_difference(before, after, groups, comparisons=comparisons)
        elif not usual:
            continue
        result = _result(f"augmentation {name}", gain, len(TTA_TRANSFORMS[name]), usual)
        results.append(result)
        if result.taken:
            tta, before, best = name, after, column
    return InferenceSettings(float(THRESHOLDS[best]) if labels.binary else THRESHOLD, tta), results


def _choose_threshold(
    table: Float64[ndarray, "n t"], default: int, groups: Groups | None
) -> tuple[int, PairedDifference]:
    """Choose the column of a threshold, and give its gain over the default's.

    That is the best column, or the default where the gain may be chance.
    """
    best = _best_column(table, default)
    gain = paired_difference(table[:, default], table[:, best], groups, picked_from=table)
    return best if gain.is_gain else default, gain


def _best_column(table: Float64[ndarray, "n t"], default: int) -> int:
    """The column of the highest mean Dice; of equals the one nearest to the default."""
    if not len(table) or np.isnan(table).all():
        return default
    means = np.nanmean(table, axis=0)
    ties = np.flatnonzero(means >= means.max() - TIE)
    return int(ties[np.abs(ties - default).argmin()])


def choose_postprocessing(
    scores: Sequence[Mapping[PostprocessSettings, float]], groups: Groups | None = None
) -> tuple[PostprocessSettings, list[TuningResult]]:
    """Choose post-processing steps, one after the other, each on top of those before.

    Args:
        scores: for each image, its Dice by the steps that were applied.
        groups: what images are not independent, such as those of one patient.
    """
    chosen, results = PostprocessSettings(), []
    for name in POSTPROCESSING_ORDER:
        candidate = replace(chosen, **{name: True})
        before, after = (
            np.array([image[steps] for image in scores]) for steps in (chosen, candidate)
        )
        tried = len(POSTPROCESSING_ORDER)
        gain = paired_difference(before, after, groups, comparisons=tried)
        results.append(_result(name, gain))
        chosen = candidate if results[-1].taken else chosen
    return chosen, results


def _result(
    name: str,
    gain: PairedDifference,
    passes: int = 1,
    usual: tuple[float, float] | None = None,
) -> TuningResult:
    """Decide on a setting by its gain; one of several passes must gain `MIN_AUGMENTATION_GAIN`.

    Args:
        name: of the setting.
        gain: on validation.
        passes: how often the network looks at an image with it.
        usual: mean and standard deviation of the gain over datasets, where that is known.
    """
    expected = _combine(gain, usual) if usual else gain.difference
    certain = not gain.is_loss if usual else gain.is_gain
    taken = certain and (passes == 1 or expected >= MIN_AUGMENTATION_GAIN)
    before, difference = (gain.first, gain.difference) if gain.pairs else (0.0, 0.0)
    usual_gain = usual[0] if usual else None
    return TuningResult(
        name,
        before,
        difference,
        *gain.interval,
        taken,
        gain.pairs,
        gain.groups,
        passes,
        usual_gain,
    )


def _combine(gain: PairedDifference, usual: tuple[float, float]) -> float:
    """The expected gain: validation's and the usual one, weighted by how certain each is."""
    mean, deviation = usual
    if math.isnan(gain.low):
        return mean
    # Half the interval is about two standard errors, and more on few images
    error = max((gain.high - gain.low) / 4, 1e-6)
    weight = deviation**2 / (deviation**2 + error**2)
    return weight * gain.difference + (1 - weight) * mean


def dice_by_threshold(
    probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"], labels: Labels
) -> Float64[ndarray, " t"]:
    """Return the Dice at each of `THRESHOLDS`; one number where there are several classes."""
    if not labels.binary:
        return np.array([image_dice(to_class_index(probabilities), truth, labels)])
    return dice(counts_by_threshold(probabilities[0], truth))


def counts_by_threshold(
    probability: Float32[ndarray, "h w"], truth: UInt8[ndarray, "h w"]
) -> Int64[ndarray, "t 4"]:
    """Count true and false positives and negatives of the foreground at each of `THRESHOLDS`.

    Void pixels are left out.
    """
    valid = truth != VOID
    # How many thresholds each pixel reaches
    levels = np.searchsorted(THRESHOLDS, probability[valid], side="right")
    count = len(THRESHOLDS) + 1
    histogram = np.bincount(truth[valid] * count + levels, minlength=2 * count).reshape(2, count)
    # Background and foreground pixels that reach at least so many thresholds
    background, foreground = histogram[:, ::-1].cumsum(1)[:, ::-1]
    false_positives, true_positives = background[1:], foreground[1:]
    return np.stack(
        [
            true_positives,
            false_positives,
            foreground[0] - true_positives,
            background[0] - false_positives,
        ],
        axis=1,
    )

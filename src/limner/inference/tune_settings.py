"""The choice of inference settings from the scores of validation images.

A setting is chosen only where it helps by more than chance explains: the 95 % interval of the
paired gain in mean Dice lies above 0. On fewer than ten images nothing is chosen.
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
from limner.metrics.bootstrap import paired_difference
from limner.metrics.overlap import dice, image_dice
from limner.model.metadata import THRESHOLD, InferenceSettings, PostprocessSettings

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Candidates for the foreground threshold of a binary set: 0.05 to 0.95, 0.5 among them."""
TIE = 1e-4
"""Thresholds whose mean Dice differs by less are equally good: the nearest to 0.5 is chosen."""
MIN_AUGMENTATION_GAIN = 0.002
"""A smaller gain in Dice is not worth the additional passes through the network."""
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
    """Lower end of the gain's 95 % interval."""
    high: float
    taken: bool
    """Whether the model uses the setting."""
    images: int
    """By how many images it was judged: those that have a score."""


def choose_settings(
    scores: Sequence[Mapping[str, Float64[ndarray, " t"]]], labels: Labels
) -> tuple[InferenceSettings, list[TuningResult]]:
    """Choose threshold and augmentation.

    First the threshold without augmentation is chosen. Then each augmentation is tried, with a
    threshold of its own.

    Args:
        scores: for each image, its Dice at each of `THRESHOLDS` (one number where there are several
            classes) by the augmentation's name. Some images may have "none" alone.
        labels: the classes.
    """
    default = int(np.searchsorted(THRESHOLDS, THRESHOLD)) if labels.binary else 0
    plain = np.stack([image["none"] for image in scores])  # (n, t)
    best = _best_threshold(plain, default)
    results = [_compare("threshold", plain[:, default], plain[:, best])] if labels.binary else []
    augmented = [image for image in scores if len(image) == len(TTA_TRANSFORMS)]
    tta, before = "none", np.stack([image["none"][best] for image in augmented])
    for name in list(TTA_TRANSFORMS)[1:]:
        table = np.stack([image[name] for image in augmented])
        candidate = _best_threshold(table, default)
        result = _compare(f"augmentation {name}", before, table[:, candidate])
        result = replace(result, taken=result.taken and result.gain >= MIN_AUGMENTATION_GAIN)
        results.append(result)
        if result.taken:
            tta, before, best = name, table[:, candidate], candidate
    return InferenceSettings(float(THRESHOLDS[best]) if labels.binary else THRESHOLD, tta), results


def _best_threshold(table: Float64[ndarray, "n t"], default: int) -> int:
    """Return the column of the highest mean Dice, or the default where the gain may be chance."""
    means = np.zeros(1) if np.isnan(table).all() else np.nanmean(table, axis=0)
    ties = np.flatnonzero(means >= means.max() - TIE)
    best = int(ties[np.abs(ties - default).argmin()])
    return best if paired_difference(table[:, default], table[:, best]).is_gain else default


def choose_postprocessing(
    scores: Sequence[Mapping[PostprocessSettings, float]],
) -> tuple[PostprocessSettings, list[TuningResult]]:
    """Choose post-processing steps, one after the other, each on top of those before.

    Args:
        scores: for each image, its Dice by the steps that were applied.
    """
    chosen, results = PostprocessSettings(), []
    for name in POSTPROCESSING_ORDER:
        candidate = replace(chosen, **{name: True})
        before, after = (
            np.array([image[steps] for image in scores]) for steps in (chosen, candidate)
        )
        results.append(_compare(name, before, after))
        chosen = candidate if results[-1].taken else chosen
    return chosen, results


def _compare(
    name: str, before: Float64[ndarray, " n"], after: Float64[ndarray, " n"]
) -> TuningResult:
    """Compare scores without and with a setting; a gain beyond chance is taken."""
    difference = paired_difference(before, after)
    if not difference.pairs:
        return TuningResult(name, 0.0, 0.0, math.nan, math.nan, taken=False, images=0)
    return TuningResult(
        name,
        difference.first,
        difference.difference,
        *difference.interval,
        taken=difference.is_gain,
        images=difference.pairs,
    )


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

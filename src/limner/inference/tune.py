"""Tuning on validation after training: threshold, augmentation, post-processing and confidence.

A setting changes only where that helps by more than chance explains: the 95 % interval of the
paired gain in mean Dice lies above 0. Test images are never used.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numpy import ndarray

from limner.data.sample import Sample
from limner.inference.calibration import Calibration, fit_calibration, to_class_index
from limner.inference.confidence import ConfidenceModel, canvas_statistics, mean_appearance
from limner.inference.engines import load_torch
from limner.inference.out_of_distribution import fit_out_of_distribution
from limner.inference.postprocess import postprocess
from limner.inference.predictor import ModelRunner, run_network
from limner.inference.quality import fit_quality, quality_features
from limner.inference.tta import TTA_TRANSFORMS
from limner.labels import VOID, Labels
from limner.metrics.bootstrap import paired_difference
from limner.metrics.overlap import dice, image_dice
from limner.model.bundle import Bundle
from limner.model.metadata import THRESHOLD, InferenceSettings, PostprocessSettings

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Candidates for the foreground threshold of a binary set: 0.05 to 0.95, 0.5 among them."""
TIE = 1e-4
"""Thresholds whose mean Dice differs by less are equally good: the nearest to 0.5 is chosen."""
MIN_AUGMENTATION_GAIN = 0.002
"""A smaller gain in Dice is not worth the additional passes through the network."""
FEWEST = 12
"""Validation images that are used whatever the time."""
FEWEST_LARGE, MOST = 24, 1000
"""Validation images that are used where time allows: the fewest of large ones, and the most."""
MOST_PIXELS = 150e6
"""Pixels of all validation images that are used.

25 images of 6 megapixels took 40 s on two cores.
"""
MOST_TRAINING = 500
"""Training images from which the out-of-distribution detector is fitted."""
CALIBRATION_PIXELS = 2000
"""Pixels of each image from which the calibration is fitted."""
AUGMENTED_SHARE, FIRST_PASS_SHARE = 0.3, 0.55
"""Shares of the time: when images are no longer augmented, and when the first pass ends."""
ALL_POSTPROCESSING = tuple(
    PostprocessSettings(*steps) for steps in product((False, True), repeat=3)
)
POSTPROCESSING_ORDER = ("remove_small", "fill_holes", "keep_largest")
"""The order in which the steps are tried."""

Progress = tuple[int, int]
"""How many predictions are done, and how many there will be at most."""


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


def tune(
    bundle: Bundle,
    samples: Sequence[Sample],
    training: UInt8[ndarray, "n h w c"],
    device: str = "cpu",
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[Progress, None, tuple[Bundle, list[TuningResult]]]:
    """Choose the inference settings of a trained model, and fit its confidence model.

    Images are predicted twice: with each augmentation, then with the chosen settings. Yields how
    many predictions are done, and of how many.

    Args:
        bundle: the model.
        samples: validation samples. Where time is short, fewer are used, spread over the set.
        training: canvases of the training images, for the out-of-distribution detector.
        device: that of the network.
        seconds_left: tells the remaining time.

    Returns the bundle with its settings and confidence, and what each setting gains. Without
    samples the bundle stays as it is.
    """
    network, labels = ModelRunner.from_model(load_torch(bundle, device)), bundle.labels
    selected = _select_samples(samples)
    augmented = yield from _score_augmentations(network, selected, labels, seconds_left)
    if not augmented:
        return bundle, []
    settings, results = _choose_settings(augmented, labels)
    calibration = _fit_calibration(augmented, settings.tta)
    masks: list[_MaskScores] = []
    for sample in selected[: len(augmented)]:
        # A chosen augmentation makes the second pass longer than the first
        if len(masks) >= FEWEST and seconds_left() <= 0:
            break
        masks.append(_score_masks(network, sample, labels, settings, calibration))
        yield len(augmented) + len(masks), 2 * len(augmented)
    postprocessing, more_results = _choose_postprocessing([scores.dice for scores in masks])
    confidence = _fit_confidence(calibration, masks, postprocessing, training)
    tuned = replace(
        bundle,
        inference=replace(settings, postprocessing=postprocessing),
        confidence=confidence.to_dict(),
    )
    return tuned, results + more_results


@dataclass(frozen=True, slots=True)
class _AugmentationScores:
    """The scores of one image with some or all augmentations, by the augmentation's name."""

    dice: dict[str, Float64[ndarray, " t"]]
    """Mean Dice at each threshold; one number where there are several classes."""
    pixels: dict[str, Float32[ndarray, "k p"]]
    """Probabilities of some pixels, for the calibration."""
    truth: UInt8[ndarray, " p"]
    """The true classes of these pixels."""


@dataclass(frozen=True, slots=True)
class _MaskScores:
    """The scores of one image with the chosen threshold and augmentation."""

    dice: dict[PostprocessSettings, float]
    """Mean Dice after each post-processing."""
    features: Float64[ndarray, " f"]
    """From `quality_features`."""
    appearance: Float64[ndarray, " d"]


def _score_augmentations(
    network: ModelRunner,
    samples: Sequence[Sample],
    labels: Labels,
    seconds_left: Callable[[], float],
) -> Generator[Progress, None, list[_AugmentationScores]]:
    """Score each sample with each augmentation; later ones without, where time is short."""
    seconds = seconds_left()
    scores: list[_AugmentationScores] = []
    for sample in samples:
        left = seconds_left()
        enough = len(scores) >= FEWEST
        if enough and left < seconds * (1 - FIRST_PASS_SHARE):
            break
        plain = enough and left < seconds * (1 - AUGMENTED_SHARE)
        names = ["none"] if plain else list(TTA_TRANSFORMS)
        scores.append(_score_sample(network, sample, labels, names))
        yield len(scores), 2 * len(samples)
    return scores


def _score_sample(
    network: ModelRunner, sample: Sample, labels: Labels, names: Sequence[str]
) -> _AugmentationScores:
    """Score one sample with the named augmentations; what they share is predicted once."""
    image, truth = sample.read_image(), sample.class_index(labels)
    transforms = list(
        dict.fromkeys(transform for name in names for transform in TTA_TRANSFORMS[name])
    )
    output = run_network(network, image, transforms)
    valid = np.flatnonzero(truth.ravel() != VOID)
    valid = valid[:: max(1, len(valid) // CALIBRATION_PIXELS)]
    scores, pixels = {}, {}
    for name in names:
        probabilities = output.probabilities(
            [transforms.index(transform) for transform in TTA_TRANSFORMS[name]]
        )
        scores[name] = _dice_by_threshold(probabilities, truth, labels)
        pixels[name] = probabilities.reshape(len(probabilities), -1)[:, valid]
    return _AugmentationScores(scores, pixels, truth.ravel()[valid])


def _score_masks(
    network: ModelRunner,
    sample: Sample,
    labels: Labels,
    settings: InferenceSettings,
    calibration: Calibration,
) -> _MaskScores:
    """Score one sample after each post-processing."""
    image, truth = sample.read_image(), sample.class_index(labels)
    output = run_network(network, image, TTA_TRANSFORMS[settings.tta])
    mask = to_class_index(output.probabilities(), settings.threshold)
    canvases = [
        canvas_statistics(canvas, calibration, settings.threshold, labels)
        for canvas in output.canvases()
    ]
    return _MaskScores(
        {
            steps: image_dice(postprocess(mask, steps, labels), truth, labels)
            for steps in ALL_POSTPROCESSING
        },
        quality_features([canvas.masks for canvas in canvases]),
        mean_appearance(canvases),
    )


def _choose_settings(
    scores: Sequence[_AugmentationScores], labels: Labels
) -> tuple[InferenceSettings, list[TuningResult]]:
    """Choose threshold and augmentation.

    First the threshold without augmentation is chosen. Then each augmentation is tried, with a
    threshold of its own.
    """
    default = int(np.searchsorted(THRESHOLDS, THRESHOLD)) if labels.binary else 0
    plain = np.stack([image.dice["none"] for image in scores])  # (n, t)
    best = _best_threshold(plain, default)
    results = [_compare("threshold", plain[:, default], plain[:, best])] if labels.binary else []
    augmented = [image.dice for image in scores if len(image.dice) == len(TTA_TRANSFORMS)]
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
    return best if paired_difference(table[:, default], table[:, best]).low > 0 else default


def _choose_postprocessing(
    scores: Sequence[dict[PostprocessSettings, float]],
) -> tuple[PostprocessSettings, list[TuningResult]]:
    """Try one step after the other, each on top of those that were chosen before."""
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
        return TuningResult(name, 0.0, 0.0, 0.0, 0.0, taken=False)
    return TuningResult(
        name,
        difference.first,
        difference.difference,
        *difference.interval,
        taken=difference.low > 0,
    )


def _fit_calibration(scores: Sequence[_AugmentationScores], tta: str) -> Calibration:
    """Fit the calibration on the images that were predicted with the chosen augmentation."""
    predicted = [image for image in scores if tta in image.pixels]
    return fit_calibration(
        np.concatenate([image.pixels[tta] for image in predicted], axis=1),
        np.concatenate([image.truth for image in predicted]),
    )


def _fit_confidence(
    calibration: Calibration,
    scores: Sequence[_MaskScores],
    postprocessing: PostprocessSettings,
    training: UInt8[ndarray, "n h w c"],
) -> ConfidenceModel:
    quality = fit_quality(
        np.stack([image.features for image in scores]),
        np.array([image.dice[postprocessing] for image in scores]),
    )
    detector = fit_out_of_distribution(
        training[:: max(1, len(training) // MOST_TRAINING)], [image.appearance for image in scores]
    )
    return ConfidenceModel(calibration, quality, detector)


def _dice_by_threshold(
    probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"], labels: Labels
) -> Float64[ndarray, " t"]:
    """Return the Dice at each threshold; one number where there are several classes."""
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


def _select_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Select samples up to `MOST` and `MOST_PIXELS`, in the order of `spread_order`."""
    if not samples:
        return []
    probed = samples[:: max(1, len(samples) // FEWEST_LARGE)]
    pixels = float(np.median([math.prod(sample.size_px()) for sample in probed]))
    count = min(len(samples), MOST, max(FEWEST_LARGE, int(MOST_PIXELS / pixels)))
    rows = np.linspace(0, len(samples) - 1, count).round()
    return spread_order([samples[int(row)] for row in rows])


def spread_order(samples: Sequence[Sample]) -> list[Sample]:
    """Order samples so that every beginning of the list is spread over the whole set."""
    # Indices in the order of their reversed bits (van der Corput)
    order = sorted(range(len(samples)), key=lambda index: int(f"{index:032b}"[::-1], 2))
    return [samples[index] for index in order]

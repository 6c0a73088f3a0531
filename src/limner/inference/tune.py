"""Tuning on validation after training: threshold, augmentation, post-processing and confidence.

Test images are never used.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.data.sample import Sample
from limner.inference.calibration import Calibration, fit_calibration, to_class_index
from limner.inference.confidence import ConfidenceModel, canvas_statistics, mean_appearance
from limner.inference.engines import load_torch
from limner.inference.model_runner import ModelRunner, run_network
from limner.inference.out_of_distribution import fit_out_of_distribution
from limner.inference.postprocess import postprocess
from limner.inference.quality import fit_quality, quality_features
from limner.inference.scores import Scores
from limner.inference.tta import TTA_TRANSFORMS
from limner.inference.tune_settings import (
    TuningResult,
    choose_postprocessing,
    choose_settings,
    dice_by_threshold,
)
from limner.labels import VOID, Labels
from limner.metrics.overlap import image_dice
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings, PostprocessSettings

MIN_IMAGES = 12
"""Validation images that are used even where they take half as much time again."""
MIN_LARGE_IMAGES, MAX_IMAGES = 24, 1000
"""Validation images that are used where time allows: the fewest of large ones, and the most."""
MAX_TUNING_PIXELS = 150e6
"""Pixels of all validation images that are used.

25 images of 6 megapixels took 40 s on two cores.
"""
MAX_TRAINING_IMAGES = 500
"""Training images from which the out-of-distribution detector is fitted."""
CALIBRATION_PIXELS = 2000
"""Pixels of each image from which the calibration is fitted."""
AUGMENTED_SHARE, FIRST_PASS_SHARE = 0.3, 0.55
"""Shares of the time: when images are no longer augmented, and when the first pass ends."""
ALL_POSTPROCESSING = tuple(
    PostprocessSettings(*steps) for steps in product((False, True), repeat=3)
)

PredictionCounts = tuple[int, int]
"""How many predictions are done, and how many there will be at most."""


def tune(
    bundle: Bundle,
    samples: Sequence[Sample],
    training: UInt8[ndarray, "n h w c"],
    device: str = "cpu",
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[PredictionCounts, None, tuple[Bundle, list[TuningResult]]]:
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
    network = ModelRunner.from_model(load_torch(bundle, device))
    cases = [(network, sample) for sample in _select_samples(samples)]
    return (yield from _tune_on(bundle, cases, training, seconds_left))


def tune_out_of_fold(
    bundle: Bundle,
    folds: Sequence[tuple[Bundle, Sequence[Sample]]],
    training: UInt8[ndarray, "n h w c"],
    device: str = "cpu",
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[PredictionCounts, None, tuple[Bundle, list[TuningResult]]]:
    """Tune an ensemble as `tune` does, by what each member predicts of the fold it never saw.

    Args:
        bundle: the ensemble.
        folds: each member with the samples that it was validated on.
        training: canvases of all of them, for the out-of-distribution detector.
        device: that of the networks.
        seconds_left: as for `tune`.
    """
    network_by_id: dict[str, ModelRunner] = {}
    for member, samples in folds:
        network = ModelRunner.from_model(load_torch(member, device))
        network_by_id |= {sample.id: network for sample in samples}
    selected = _select_samples([sample for _, samples in folds for sample in samples])
    cases = [(network_by_id[sample.id], sample) for sample in selected]
    return (yield from _tune_on(bundle, cases, training, seconds_left))


def _tune_on(
    bundle: Bundle,
    cases: Sequence[tuple[ModelRunner, Sample]],
    training: UInt8[ndarray, "n h w c"],
    seconds_left: Callable[[], float],
) -> Generator[PredictionCounts, None, tuple[Bundle, list[TuningResult]]]:
    """Tune a model on samples, each with the network that predicts it."""
    labels, seconds = bundle.labels, seconds_left()
    augmented = yield from _score_augmentations(cases, labels, seconds, seconds_left)
    if not augmented:
        return bundle, []
    groups = [sample.group for _, sample in cases]
    augment = bundle.recipe.augment
    settings, results = choose_settings(
        [scores.dice for scores in augmented],
        labels,
        groups[: len(augmented)],
        trained_mirrored=augment.horizontal_flip > 0 and augment.vertical_flip > 0,
    )
    calibration = _fit_calibration(augmented, settings.tta)
    masks: list[_MaskScores] = []
    for network, sample in cases[: len(augmented)]:
        # A chosen augmentation makes the second pass longer than the first
        if masks and seconds_left() <= (0 if len(masks) >= MIN_IMAGES else -seconds / 2):
            break
        masks.append(_score_masks(network, sample, labels, settings, calibration))
        yield len(augmented) + len(masks), 2 * len(augmented)
    postprocessing, more_results = choose_postprocessing(
        [scores.dice for scores in masks], groups[: len(masks)]
    )
    confidence = _fit_confidence(
        calibration,
        [image.features for image in masks],
        [image.dice[postprocessing] for image in masks],
        [image.appearance for image in masks],
        training,
    )
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
    cases: Sequence[tuple[ModelRunner, Sample]],
    labels: Labels,
    seconds: float,
    seconds_left: Callable[[], float],
) -> Generator[PredictionCounts, None, list[_AugmentationScores]]:
    """Score each sample with each augmentation; later ones without, where time is short.

    Where it is too short for the first ones already, fewer augmentations are tried, or none.
    """
    tried = list(TTA_TRANSFORMS)
    scores: list[_AugmentationScores] = []
    if cases and math.isfinite(seconds):
        _score_sample(*cases[0], labels, ["none"])
        tried = _affordable_augmentations(
            seconds - seconds_left(), seconds, min(MIN_IMAGES, len(cases))
        )
    for network, sample in cases:
        left = seconds_left()
        enough = len(scores) >= MIN_IMAGES
        if scores and left < (seconds * (1 - FIRST_PASS_SHARE) if enough else 0):
            break
        plain = enough and left < seconds * (1 - AUGMENTED_SHARE)
        names = ["none"] if plain else tried
        scores.append(_score_sample(network, sample, labels, names))
        yield len(scores), 2 * len(cases)
    return scores


def _affordable_augmentations(pass_s: float, seconds: float, images: int) -> list[str]:
    """The augmentations for which the time suffices, "none" among them.

    Args:
        pass_s: what one pass of one image takes.
        seconds: for everything.
        images: that are scored at least.
    """
    names = ["none"]
    for name in list(TTA_TRANSFORMS)[1:]:
        passes = len({each for chosen in (*names, name) for each in TTA_TRANSFORMS[chosen]})
        if passes * pass_s * images <= FIRST_PASS_SHARE * seconds:
            names.append(name)
    return names


def _score_sample(
    network: ModelRunner, sample: Sample, labels: Labels, names: Sequence[str]
) -> _AugmentationScores:
    """Score one sample with the named augmentations; what they share is predicted once."""
    image = sample.read_image(channels=network.preprocessing.channels)
    truth = sample.class_index(labels)
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
        scores[name] = dice_by_threshold(probabilities, truth, labels)
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
    image = sample.read_image(channels=network.preprocessing.channels)
    truth = sample.class_index(labels)
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


def _fit_calibration(scores: Sequence[_AugmentationScores], tta: str) -> Calibration:
    """Fit the calibration on the images that were predicted with the chosen augmentation.

    Where there was no time for it, they were predicted without.
    """
    tta = tta if any(tta in image.pixels for image in scores) else "none"
    predicted = [image for image in scores if tta in image.pixels]
    return fit_calibration(
        np.concatenate([image.pixels[tta] for image in predicted], axis=1),
        np.concatenate([image.truth for image in predicted]),
    )


def _fit_confidence(
    calibration: Calibration,
    features: Sequence[Float64[ndarray, " f"]],
    dice: Sequence[float],
    appearances: Sequence[Float64[ndarray, " d"]],
    training: UInt8[ndarray, "n h w c"],
) -> ConfidenceModel:
    """Fit the confidence model on what is known of each image, and on canvases of the training."""
    thinned = training[:: max(1, len(training) // MAX_TRAINING_IMAGES)]
    return ConfidenceModel(
        calibration,
        fit_quality(np.stack(features), np.array(dice)),
        fit_out_of_distribution(thinned, appearances),
    )


def fit_confidence_out_of_fold(
    members: Sequence[Bundle], scores: Scores, training: UInt8[ndarray, "n h w c"]
) -> ConfidenceModel | None:
    """Fit the confidence model of an ensemble on scores that are there, which costs no pass.

    Args:
        members: the models of the folds; their calibrations are averaged.
        scores: of every image by the member that never saw it.
        training: canvases of all images, for the out-of-distribution detector.

    Returns None where a member has no confidence model itself.
    """
    fitted = [ConfidenceModel.from_dict(member.confidence) for member in members]
    confidences = [model for model in fitted if model is not None]
    if len(confidences) < len(members) or not all(image.canvases for image in scores.images):
        return None
    return _fit_confidence(
        Calibration.mean_of([model.calibration for model in confidences]),
        [quality_features([canvas.masks for canvas in image.canvases]) for image in scores.images],
        scores.per_image()["dice"].tolist(),
        [mean_appearance(image.canvases) for image in scores.images],
        training,
    )


def _select_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Select samples up to `MAX_IMAGES` and `MAX_TUNING_PIXELS`, in the order of `spread_order`."""
    if not samples:
        return []
    probed = samples[:: max(1, len(samples) // MIN_LARGE_IMAGES)]
    pixels = float(np.median([math.prod(sample.size_px()) for sample in probed]))
    count = min(len(samples), MAX_IMAGES, max(MIN_LARGE_IMAGES, int(MAX_TUNING_PIXELS / pixels)))
    rows = np.linspace(0, len(samples) - 1, count).round()
    return spread_order([samples[int(row)] for row in rows])


def spread_order(samples: Sequence[Sample]) -> list[Sample]:
    """Order samples so that every beginning of the list is spread over the whole set."""
    # Indices in the order of their reversed bits (van der Corput)
    order = sorted(range(len(samples)), key=lambda index: int(f"{index:032b}"[::-1], 2))
    return [samples[index] for index in order]

"""What validation chooses, once training has ended: threshold, augmentation at test time,
post-processing, and what the model knows of itself.

Each is taken only where it helps by more than chance has it: the paired 95 % interval of the gain
in mean Dice lies above 0. Test images are never looked at.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numpy import ndarray

from limner.data.sample import Sample
from limner.inference.calibration import Calibration, to_class_index
from limner.inference.engines import load_torch
from limner.inference.postprocess import postprocess
from limner.inference.predictor import ModelRunner, run_network
from limner.inference.quality import (
    ConfidenceModel,
    fit_calibration,
    fit_out_of_distribution,
    fit_quality,
    mask_statistics,
    quality_features,
)
from limner.inference.tta import TTA_TRANSFORMS
from limner.labels import VOID, Labels
from limner.metrics.bootstrap import bootstrap_mean_interval, is_significant_gain, paired_scores
from limner.metrics.overlap import dice, image_dice
from limner.model.bundle import Bundle
from limner.model.metadata import THRESHOLD, InferenceSettings, PostprocessSettings

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Of the probability, for a binary set: from 0.05 to 0.95, 0.5 among them."""
TIE = 1e-4
"""Thresholds whose Dice differs by less are as good as each other, and the one nearest to 0.5 is
taken.
"""
WORTH = 0.002
"""A smaller gain in Dice is not worth so many passes of the network for each image."""
FEWEST, ENOUGH, MOST = 12, 24, 1000
"""Validation images that are looked at: the fewest whatever the time, the fewest of large ones, and
the most.
"""
MOST_PIXELS = 150e6
"""Of large images fewer are looked at, so that they have about so many pixels in all: 25 of 6
megapixels took 40 s on two cores.
"""
FAMILIAR = 500
"""Training images that tell what is usual."""
PIXELS = 2000
"""Of each image, for the calibration."""
AUGMENTED, SURVEY = 0.3, 0.55
"""Shares of the time: when no more images are looked at with every augmentation, and when the first
of two looks at each ends.
"""
WAYS = tuple(PostprocessSettings(*on) for on in product((False, True), repeat=3))


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What one choice brings on validation: mean Dice without it, the gain with its 95 % interval,
    and whether it was taken.
    """

    name: str
    before: float
    gain: float
    low: float
    high: float
    taken: bool


def tune(
    bundle: Bundle,
    samples: Sequence[Sample],
    training: UInt8[ndarray, "n h w c"],
    device: str = "cpu",
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[tuple[int, int], None, tuple[Bundle, list[TuningResult]]]:
    """The bundle with its choices and its confidence, fitted on validation samples; `training` are
    canvases of the training images.

    Gives how many looks of how many are done. Where the time is short, fewer of the samples are
    looked at, spread over the set.
    """
    network, labels = ModelRunner.from_model(load_torch(bundle, device)), bundle.labels
    spread, given = _spread(samples), seconds_left()
    tallies: list[_Tally] = []
    for sample in spread:
        left = seconds_left()
        if len(tallies) >= FEWEST and left < given * (1 - SURVEY):
            break
        every = len(tallies) < FEWEST or left >= given * (1 - AUGMENTED)
        tallies.append(
            _survey(network, sample, labels, list(TTA_TRANSFORMS) if every else ["none"])
        )
        yield len(tallies), 2 * len(spread)
    if not tallies:
        return bundle, []
    choices, gains = _choose_way(tallies, labels)
    known = [tally for tally in tallies if choices.tta in tally.pixels]
    pixels, truth = (
        np.concatenate([tally.pixels[choices.tta] for tally in known], axis=1),
        np.concatenate([tally.truth for tally in known]),
    )
    calibration = fit_calibration(pixels, truth)
    looked = spread[: len(tallies)]
    marks: list[_Mark] = []
    for sample in looked:
        if (
            len(marks) >= FEWEST and seconds_left() <= 0
            # An augmentation that was taken makes the second look longer than the first
        ):
            break
        marks.append(_mark(network, sample, labels, choices, calibration))
        yield len(looked) + len(marks), 2 * len(looked)
    postprocessing, more = _choose_postprocessing([mark.dice for mark in marks])
    quality = fit_quality(
        np.stack([mark.features for mark in marks]),
        np.array([mark.dice[postprocessing] for mark in marks]),
    )
    familiarity = fit_out_of_distribution(
        training[:: max(1, len(training) // FAMILIAR)], [mark.look for mark in marks]
    )
    confidence = ConfidenceModel(calibration, quality, familiarity)
    return replace(
        bundle,
        inference=replace(choices, postprocessing=postprocessing),
        confidence=confidence.to_dict(),
    ), gains + more


@dataclass(frozen=True, slots=True)
class _Tally:
    """Of one image and some or all augmentations at test time: mean Dice at each threshold (one
    column where there are several classes), and some pixels.
    """

    dice: dict[str, Float64[ndarray, " t"]]
    pixels: dict[str, Float32[ndarray, "k p"]]
    truth: UInt8[ndarray, " p"]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Of one image: the mean Dice after each post-processing, and what tells of its quality and its
    kind.
    """

    dice: dict[PostprocessSettings, float]
    features: Float64[ndarray, " f"]
    look: Float64[ndarray, " d"]


def _survey(network: ModelRunner, sample: Sample, labels: Labels, names: Sequence[str]) -> _Tally:
    image, truth = sample.read_image(), sample.class_index(labels)
    asked = list(dict.fromkeys(variant for name in names for variant in TTA_TRANSFORMS[name]))
    answer = run_network(network, image, asked)
    some = np.flatnonzero(truth.ravel() != VOID)
    some = some[:: max(1, len(some) // PIXELS)]
    scores, pixels = {}, {}
    for name in names:
        probabilities = answer.probabilities(
            [asked.index(variant) for variant in TTA_TRANSFORMS[name]]
        )
        scores[name] = _dice_by_threshold(probabilities, truth, labels)
        pixels[name] = probabilities.reshape(len(probabilities), -1)[:, some]
    return _Tally(scores, pixels, truth.ravel()[some])


def _mark(
    network: ModelRunner,
    sample: Sample,
    labels: Labels,
    choices: InferenceSettings,
    calibration: Calibration,
) -> _Mark:
    image, truth = sample.read_image(), sample.class_index(labels)
    answer = run_network(network, image, TTA_TRANSFORMS[choices.tta])
    drawn = to_class_index(answer.probabilities(), choices.threshold)
    scores = {way: image_dice(postprocess(drawn, way, labels), truth, labels) for way in WAYS}
    seen = [
        mask_statistics(canvas, calibration, choices.threshold, labels)
        for canvas in answer.canvases()
    ]
    return _Mark(scores, quality_features(seen), np.mean([one.appearance for one in seen], axis=0))


def _choose_way(
    tallies: Sequence[_Tally], labels: Labels
) -> tuple[InferenceSettings, list[TuningResult]]:
    """Threshold and augmentation. First the threshold without augmentation, then whether one of
    them is worth its passes, with a threshold of its own.
    """
    default = int(np.searchsorted(THRESHOLDS, THRESHOLD)) if labels.binary else 0

    def best(table: Float64[ndarray, "n t"]) -> int:
        means = np.nanmean(table, axis=0) if not np.isnan(table).all() else np.zeros(1)
        near = np.flatnonzero(means >= means.max() - TIE)
        found = int(near[np.abs(near - default).argmin()])
        return found if is_significant_gain(table[:, found], table[:, default]) else default

    plain = np.stack([tally.dice["none"] for tally in tallies])  # (n, t)
    at = best(plain)
    gains = (
        [_gain("threshold", plain[:, default], plain[:, at], at != default)]
        if labels.binary
        else []
    )
    chosen, augmented = (
        "none",
        [tally for tally in tallies if len(tally.dice) == len(TTA_TRANSFORMS)],
    )
    scores = np.stack([tally.dice["none"][at] for tally in augmented])
    for name in list(TTA_TRANSFORMS)[1:]:
        table = np.stack([tally.dice[name] for tally in augmented])
        tried = table[:, best(table)]
        gain = _gain(f"augmentation {name}", scores, tried, is_significant_gain(tried, scores))
        taken = gain.taken and gain.gain >= WORTH
        gains.append(replace(gain, taken=taken))
        if taken:
            chosen, scores, at = name, tried, best(table)
    return InferenceSettings(float(THRESHOLDS[at]) if labels.binary else THRESHOLD, chosen), gains


def _choose_postprocessing(
    scores: Sequence[dict[PostprocessSettings, float]],
) -> tuple[PostprocessSettings, list[TuningResult]]:
    """One after the other, each on top of those that were taken."""
    chosen, gains = PostprocessSettings(), []
    for name in ("remove_small", "fill_holes", "keep_largest"):
        tried = replace(chosen, **{name: True})
        before, after = (np.array([score[way] for score in scores]) for way in (chosen, tried))
        taken = is_significant_gain(after, before)
        gains.append(_gain(name, before, after, taken))
        chosen = tried if taken else chosen
    return chosen, gains


def _gain(
    name: str, before: Float64[ndarray, " n"], after: Float64[ndarray, " n"], taken: bool
) -> TuningResult:
    pairs = paired_scores(np.stack([before, after], axis=1))
    if not len(pairs):
        return TuningResult(name, 0.0, 0.0, 0.0, 0.0, taken)
    difference = pairs[:, 1] - pairs[:, 0]
    low, high = bootstrap_mean_interval(difference[:, None])[0]
    return TuningResult(
        name, float(pairs[:, 0].mean()), float(difference.mean()), float(low), float(high), taken
    )


def _dice_by_threshold(
    probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"], labels: Labels
) -> Float64[ndarray, " t"]:
    if not labels.binary:
        return np.array([image_dice(to_class_index(probabilities), truth, labels)])
    return dice(counts_by_threshold(probabilities[0], truth))


def counts_by_threshold(
    probability: Float32[ndarray, "h w"], truth: UInt8[ndarray, "h w"]
) -> Int64[ndarray, "t 4"]:
    """The counts of the foreground at each of `THRESHOLDS`; void pixels are left out."""
    valid = truth != VOID
    passed = np.searchsorted(
        THRESHOLDS,
        probability[valid],
        side="right",
        # How many thresholds each pixel reaches
    )
    counts = np.bincount(
        truth[valid] * (len(THRESHOLDS) + 1) + passed, minlength=2 * (len(THRESHOLDS) + 1)
    ).reshape(2, -1)
    # Pixels that reach at least so many
    reached = counts[:, ::-1].cumsum(1)[:, ::-1]
    false, hit = reached[0, 1:], reached[1, 1:]
    return np.stack([hit, false, reached[1, 0] - hit, reached[0, 0] - false], axis=1)


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """Some of them, in an order whose every beginning is spread over the set."""
    if not samples:
        return []
    pixels = float(
        np.median(
            [math.prod(sample.size_px()) for sample in samples[:: max(1, len(samples) // ENOUGH)]]
        )
    )
    count = min(len(samples), MOST, max(ENOUGH, int(MOST_PIXELS / pixels)))
    return spread_order([samples[int(i)] for i in np.linspace(0, len(samples) - 1, count).round()])


def spread_order(samples: Sequence[Sample]) -> list[Sample]:
    """All of them, in an order whose every beginning is spread over the set."""
    return [
        samples[i] for i in sorted(range(len(samples)), key=lambda i: int(f"{i:032b}"[::-1], 2))
    ]

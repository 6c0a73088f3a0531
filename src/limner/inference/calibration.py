"""Probabilities: from logits to classes, their calibration, its fit, and how uncertain they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.labels import VOID
from limner.model.metadata import THRESHOLD

BINS = 15
"""Bins of equal width in a reliability diagram."""
EPSILON = 1e-6
"""Probabilities stay this far from 0 and 1 where their logarithm is taken."""
MAX_LOGIT = 60
"""Logits are clipped here, so that the exponential does not overflow."""
MAX_LOG_TEMPERATURE = 2.0
"""Bound of the fit: temperatures from exp(-2) to exp(2)."""


def to_probabilities(logits: Float32[ndarray, "k h w"]) -> Float32[ndarray, "k h w"]:
    """Apply the sigmoid to one channel, or the softmax to several."""
    if len(logits) == 1:
        probabilities = np.clip(logits, -MAX_LOGIT, MAX_LOGIT)
        np.negative(probabilities, out=probabilities)
        return _inverse_of_one_plus_exp(probabilities)
    exponentials = np.exp(logits - logits.max(0))
    return exponentials / exponentials.sum(0)


def _inverse_of_one_plus_exp(values: Float32[ndarray, "..."]) -> Float32[ndarray, "..."]:
    """1 / (1 + exp(values)), in their place.

    A new array of a large image costs as much as the arithmetic.
    """
    np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)


def to_class_index(
    probabilities: Float32[ndarray, "k h w"], threshold: float = THRESHOLD
) -> UInt8[ndarray, "h w"]:
    """Turn probabilities into a mask of class indices.

    With one channel, pixels at or above the threshold are foreground (1). With several, the most
    probable class is taken, and the threshold has no effect.
    """
    if len(probabilities) == 1:
        return (probabilities[0] >= threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)


def with_background(probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "k2 ..."]:
    """Return the probability of each class: for a binary set, add the background's channel."""
    if len(probabilities) > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities])


def class_probability(
    probabilities: Float32[ndarray, "k ..."], index: int
) -> Float32[ndarray, "..."]:
    """The probability of one class; of a binary set 0 is the background."""
    if len(probabilities) > 1 or index == 1:
        return probabilities[index if len(probabilities) > 1 else 0]
    return 1 - probabilities[0]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature scaling (arXiv:1706.04599), with a shift for binary sets.

    The shift is added to the logits, then they are divided by the temperature. No mask changes,
    since the threshold applies to the probabilities before calibration. A binary set has a shift
    because a Dice loss predicts too much or too little foreground (Platt, 1999).
    """

    temperature: float = 1.0
    shift: float = 0.0

    @classmethod
    def mean_of(cls, calibrations: "Sequence[Calibration]") -> "Calibration":
        """The mean of those of several networks."""
        return cls(
            float(np.mean([calibration.temperature for calibration in calibrations])),
            float(np.mean([calibration.shift for calibration in calibrations])),
        )

    def __call__(self, probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "k ..."]:
        """Calibrate probabilities; those of several classes sum to 1 again."""
        clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
        if len(probabilities) == 1:
            clipped /= 1 - clipped
            logits = np.log(clipped, out=clipped)
            logits += np.float32(self.shift)
            logits /= np.float32(-self.temperature)
            return _inverse_of_one_plus_exp(logits)
        powers = clipped ** np.float32(1 / self.temperature)
        return (powers / powers.sum(0)).astype(np.float32)


def fit_calibration(
    probabilities: Float32[ndarray, "k p"], truth: UInt8[ndarray, " p"]
) -> Calibration:
    """Fit the calibration under which the true classes of `p` pixels are most likely.

    Several classes have a temperature alone.
    """
    # Imported here since it takes a second
    from scipy import optimize

    pixels, binary = np.arange(len(truth)), len(probabilities) == 1

    def calibration_of(parameters: Float64[ndarray, " v"]) -> Calibration:
        bounded = min(max(float(parameters[0]), -MAX_LOG_TEMPERATURE), MAX_LOG_TEMPERATURE)
        return Calibration(math.exp(bounded), float(parameters[1]) if binary else 0.0)

    def negative_log_likelihood(parameters: Float64[ndarray, " v"]) -> float:
        calibrated = with_background(calibration_of(parameters)(probabilities))
        return float(-np.log(np.maximum(calibrated[truth, pixels], EPSILON)).mean())

    start = np.zeros(2 if binary else 1)
    fitted = optimize.minimize(negative_log_likelihood, start, method="Nelder-Mead")
    return calibration_of(fitted.x)


def entropy(probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "..."]:
    """Compute each pixel's entropy in 0..1.

    It is 0 where one class is certain, and 1 where all classes are equally probable.
    """
    binary = len(probabilities) == 1
    classes = (1 - probabilities[0], probabilities[0]) if binary else tuple(probabilities)
    bits = np.zeros(probabilities.shape[1:], np.float32)
    for plane in classes:
        bounded = np.maximum(plane, EPSILON**2)
        bounded *= np.log(bounded)
        bits -= bounded
    bits /= np.float32(np.log(len(classes)))
    return np.clip(bits, 0, 1, out=bits)


def reliability_bins(
    probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"]
) -> Float64[ndarray, "b 3"]:
    """Count pixels by their predicted probability, for a reliability diagram.

    The probability is the foreground's for a binary set, else that of the most probable class.
    Void pixels are left out.

    Returns for each of `BINS` bins: the pixels, the sum of their probabilities, and how many of
    them have the class that was predicted (for a binary set, the foreground).
    """
    valid = truth != VOID
    if len(probabilities) == 1:
        confidence, correct = probabilities[0][valid], truth[valid] == 1
    else:
        confidence = probabilities.max(0)[valid]
        correct = probabilities.argmax(0)[valid] == truth[valid]
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    columns = [
        np.bincount(bins, weights, BINS).astype(np.float64)
        for weights in (None, confidence, correct)
    ]
    return np.stack(columns, axis=1)


def expected_calibration_error(bins: Float64[ndarray, "b 3"]) -> float:
    """Compute the expected calibration error (arXiv:1706.04599) from reliability bins, in 0..1.

    It is the mean over pixels of the distance between predicted and true frequency of their bin.
    """
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1))

"""From logits to probabilities, from those to classes, and what their calibration and entropy
are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.labels import VOID
from limner.model.metadata import THRESHOLD

BINS = 15
TINY = 1e-6
"""Probabilities are kept this far from 0 and 1 where their logarithm is taken."""


def to_probabilities(logits: Float32[ndarray, "k h w"]) -> Float32[ndarray, "k h w"]:
    """The sigmoid of one logit, the softmax of several."""
    if len(logits) == 1:
        return (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
    exponentials = np.exp(logits - logits.max(0))
    return exponentials / exponentials.sum(0)


def to_class_index(
    probabilities: Float32[ndarray, "k h w"], threshold: float = THRESHOLD
) -> UInt8[ndarray, "h w"]:
    """Foreground from the threshold on for one channel, the most probable class for several."""
    if len(probabilities) == 1:
        return (probabilities[0] >= threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes probabilities true: the logits are shifted, then divided by the temperature
    (arXiv:1706.04599); it changes no mask.

    Only a binary set has a shift, since a Dice loss draws too much or too little of the foreground
    (Platt, 1999).
    """

    temperature: float = 1.0
    shift: float = 0.0

    def __call__(self, probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "k ..."]:
        clipped = np.clip(probabilities, TINY, 1 - TINY)
        if len(probabilities) == 1:
            logits = np.log(clipped / (1 - clipped))
            return (
                1 / (1 + np.exp(-(logits + np.float32(self.shift)) / np.float32(self.temperature)))
            ).astype(np.float32)
        powers = clipped ** np.float32(1 / self.temperature)
        return (powers / powers.sum(0)).astype(np.float32)


def with_background(probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "k2 ..."]:
    """The probability of each class: of a binary set the background's beside the foreground's."""
    return (
        np.concatenate([1 - probabilities, probabilities])
        if len(probabilities) == 1
        else probabilities
    )


def entropy(probabilities: Float32[ndarray, "k ..."]) -> Float32[ndarray, "..."]:
    """In 0..1: 0 where one class is certain, 1 where all are alike."""
    every = np.maximum(with_background(probabilities), TINY**2)
    return np.clip(-(every * np.log(every)).sum(0) / np.float32(np.log(len(every))), 0, 1).astype(
        np.float32
    )


def reliability_bins(
    probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"]
) -> Float64[ndarray, "b 3"]:
    """In bins of a probability: how many pixels, the sum of what was said, and how many were as
    said. Void pixels are left out.

    The probability is the foreground's in a binary set, else that of the class that was taken.
    """
    valid = truth != VOID
    if len(probabilities) == 1:
        said, right = probabilities[0][valid], truth[valid] == 1
    else:
        taken = probabilities.argmax(0)
        said, right = probabilities.max(0)[valid], taken[valid] == truth[valid]
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    return np.stack(
        [np.bincount(bins, weights, BINS).astype(np.float64) for weights in (None, said, right)],
        axis=1,
    )


def expected_calibration_error(bins: Float64[ndarray, "b 3"]) -> float:
    """Expected calibration error (arXiv:1706.04599): how far said and true frequency lie apart, the
    mean over pixels by bins.
    """
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1))

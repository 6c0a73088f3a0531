"""The confidence model of a network: calibration, predicted Dice and out-of-distribution score.

It is fitted on validation images, and recorded in the model file as numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.inference.calibration import (
    Calibration,
    class_probability,
    entropy,
    to_class_index,
)
from limner.inference.out_of_distribution import (
    OutOfDistributionDetector,
    describe_appearance,
    to_grey,
)
from limner.inference.quality import (
    MaskStatistics,
    QualityRegression,
    mask_statistics,
    quality_features,
)
from limner.labels import Labels


class CanvasPrediction(NamedTuple):
    """A canvas as the network saw it, and its probabilities, the mean over augmentations."""

    pixels: UInt8[ndarray, "h w c"]
    probabilities: Float32[ndarray, "k h w"]


class CanvasStatistics(NamedTuple):
    """What is kept of a canvas to judge the image."""

    masks: Sequence[MaskStatistics]
    """One for each scored class."""
    appearance: Float64[ndarray, " d"]
    """What it looks like, from `describe_appearance`."""


def canvas_statistics(
    canvas: CanvasPrediction, calibration: Calibration, threshold: float, labels: Labels
) -> CanvasStatistics:
    """Sum up a canvas: its mask of each scored class, and what it looks like."""
    mask = to_class_index(canvas.probabilities, threshold)
    calibrated = calibration(canvas.probabilities)
    uncertainty, grey = entropy(calibrated), to_grey(canvas.pixels)
    return CanvasStatistics(
        [
            mask_statistics(mask == index, class_probability(calibrated, index), uncertainty, grey)
            for index in labels.scored
        ],
        describe_appearance(canvas.pixels),
    )


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """What a model predicts of its own errors."""

    calibration: Calibration
    quality: QualityRegression | None
    """None where there were too few validation images to fit it."""
    out_of_distribution: OutOfDistributionDetector

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ConfidenceModel | None":
        """Read the record of a model file; None where it is empty, since nothing was fitted."""
        if not record:
            return None
        quality, detector = record["quality"], record["out_of_distribution"]
        return cls(
            Calibration(**record["calibration"]),
            QualityRegression(
                tuple(quality["centre"]),
                tuple(quality["scale"]),
                tuple(quality["weights"]),
                quality["intercept"],
            )
            if quality
            else None,
            OutOfDistributionDetector(
                tuple(detector["centre"]),
                tuple(map(tuple, detector["whitening"])),
                detector["limit"],
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a record that JSON can hold; `from_dict` reads it back."""
        return asdict(self)

    def predicted_dice(self, canvases: Sequence[CanvasStatistics]) -> float:
        """Predict the Dice of an image's mask, in 0..1, from the statistics of its canvases."""
        features = quality_features([canvas.masks for canvas in canvases])
        return self.quality(features) if self.quality else float(np.clip(features[0], 0, 1))

    def unusualness(self, canvases: Sequence[CanvasStatistics]) -> float:
        """Return the out-of-distribution score of an image; see `is_unusual`."""
        return self.out_of_distribution(mean_appearance(canvases))


def mean_appearance(canvases: Sequence[CanvasStatistics]) -> Float64[ndarray, " d"]:
    """Average the appearance of an image's canvases."""
    appearance: Float64[ndarray, " d"] = np.mean([canvas.appearance for canvas in canvases], axis=0)
    return appearance

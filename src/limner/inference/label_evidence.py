"""How a mask differs from what a model predicts that never saw it: the evidence of a label error.

One class of one image is compared at a time. Lengths are measured in the diameter of an object of
the class, so that the numbers mean the same for cells of 10 px and lesions of 300 px.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32
from numpy import ndarray

MATCHED_SHARE = 0.2
"""An object of which more is covered by the other mask is matched, if badly."""
MAX_SHIFT = 0.8
"""How far a mask is moved in search of a better fit, in diameters."""
SHIFT_DIAMETER_PX = 24
"""A shift is looked for at a resolution at which an object is at least so large."""
SOFTMIN_TEMPERATURE = 0.1
"""Of the pixels' label quality, as in arXiv:2307.05080."""
MAX_OFFSET = 1.5
"""Outlines that are further apart, in diameters, are not of the same object."""

Mask = Bool[ndarray, "h w"]
Box = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels; bottom and right lie beyond it."""

FEATURES = (
    "agreement",
    "expected_agreement",
    "softmin",
    "missing",
    "invented",
    "other_class",
    "uncovered",
    "beyond",
    "shift_gain",
    "shift",
    "mirror_gain",
    "offset",
    "offset_spread",
    "area_ratio",
)
"""The names of `Evidence.features`, in their order."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a comparison found."""

    features: Float64[ndarray, " f"]
    """As `FEATURES` names them."""
    missing: Box | None = None
    """The object that was predicted most surely and is not in the mask."""
    invented: Box | None = None
    """The object of the mask that was predicted least."""
    other_class: int | None = None
    """The class that was predicted most surely in an object of the mask."""
    other_class_box: Box | None = None
    shift_px: tuple[int, int] = (0, 0)
    """How the mask would have to be moved, down and to the right, to fit best."""
    offset_px: float = 0.0
    """How far outside of the predicted outline the mask's runs; negative inside of it."""


class _Object(NamedTuple):
    evidence: float
    box: Box | None


class ClassPrediction:
    """The prediction of one class of one image, to compare masks with.

    Args:
        probabilities: Calibrated, of every class.
        class_index: Which class.
        others: The other scored classes.
    """

    def __init__(
        self, probabilities: Float32[ndarray, "k h w"], class_index: int, others: tuple[int, ...]
    ) -> None:
        self.class_index = class_index
        self.probability = probabilities[class_index]
        self.mask: Mask = probabilities.argmax(0) == class_index
        self._others = others
        self._probabilities = probabilities
        self._objects, self._object_count = _label(self.mask)
        self._sum = float(self.probability.sum())
        inside = float(self.probability[self.mask].sum())
        self._expected = _ratio(2 * inside, self._total(self.mask))
        self._distance = _signed_distance(self.mask) if self.mask.any() else None

    def compare(self, mask: Mask, valid: Mask) -> Evidence:
        """Compare a mask with the prediction.

        Args:
            mask: Of the class.
            valid: False where the image is void.
        """
        objects, count = _label(mask)
        areas = np.bincount(objects.ravel())[1:]
        if not count:
            areas = np.bincount(self._objects.ravel())[1:]
        object_area = float(np.median(areas)) if len(areas) else 16.0
        diameter = 2 * math.sqrt(max(object_area, 4) / math.pi)
        probability = np.where(valid, self.probability, 0)
        missing = _find_surest(
            self._objects, self._object_count, probability, object_area, mask | ~valid
        )
        invented = _find_surest(objects, count, 1 - self.probability, object_area, self.mask)
        other, other_class = self._find_other_class(objects, count, object_area)
        agreement = _ratio(2 * float(probability[mask].sum()), self._total(mask))
        shift_gain, shift_px = self._find_shift(mask, probability, diameter)
        offset, spread = self._offset(mask, diameter)
        features = np.array(
            [
                agreement,
                self._expected,
                _softmin(np.where(mask, probability, 1 - probability)[valid]),
                missing.evidence,
                invented.evidence,
                other.evidence,
                float(probability[~mask].sum()) / (mask.sum() + object_area),
                float((1 - probability)[mask].sum()) / (mask.sum() + object_area),
                shift_gain,
                math.hypot(*shift_px) / diameter,
                self._mirror_gain(mask, probability, agreement),
                offset,
                spread,
                math.log((mask.sum() + object_area / 4) / (self._sum + object_area / 4)),
            ]
        )
        return Evidence(
            features,
            missing.box,
            invented.box,
            other_class,
            other.box,
            shift_px,
            offset * diameter,
        )

    def _total(self, mask: Mask) -> float:
        return float(mask.sum()) + self._sum

    def _find_other_class(
        self, objects: Int32[ndarray, "h w"], count: int, object_area: float
    ) -> tuple[_Object, int | None]:
        """The object in which another class was predicted most surely."""
        best, best_class = _Object(0.0, None), None
        for other in self._others:
            probability = self._probabilities[other]
            found = _find_surest(objects, count, probability, object_area)
            if found.evidence > best.evidence:
                best, best_class = found, other
        return best, best_class

    def _find_shift(
        self, mask: Mask, probability: Float32[ndarray, "h w"], diameter: float
    ) -> tuple[float, tuple[int, int]]:
        """How much better the mask fits when it is moved, and by how many pixels."""
        from scipy import fft

        # Large objects are matched at a lower resolution
        step = max(1, int(diameter / SHIFT_DIAMETER_PX))
        small, small_mask = _pool(probability, step), _pool(mask.astype(np.float32), step)
        reach = min(max(1, round(MAX_SHIFT * diameter / step)), min(small.shape) - 1)
        if not mask.any() or reach < 1:
            return 0.0, (0, 0)
        # The correlation of both, from their spectra; the margin keeps it from wrapping around
        size = tuple(fft.next_fast_len(length + reach, real=True) for length in small.shape)
        spectrum = fft.rfft2(small, size) * fft.rfft2(small_mask, size).conj()
        correlation = fft.irfft2(spectrum, size)
        ways = np.arange(-reach, reach + 1)
        near = correlation[np.ix_(ways, ways)]
        row, column = np.unravel_index(int(near.argmax()), near.shape)
        gain = 2 * step**2 * float(near[row, column] - correlation[0, 0]) / self._total(mask)
        if gain <= 0:
            return 0.0, (0, 0)
        return gain, (step * int(ways[row]), step * int(ways[column]))

    def _mirror_gain(
        self, mask: Mask, probability: Float32[ndarray, "h w"], agreement: float
    ) -> float:
        turned = (mask[::-1], mask[:, ::-1], mask[::-1, ::-1])
        best = max(float(probability[other].sum()) for other in turned)
        return max(_ratio(2 * best, self._total(mask)) - agreement, 0.0)

    def _offset(self, mask: Mask, diameter: float) -> tuple[float, float]:
        """How far outside of the predicted outline the mask's runs: mean and deviation."""
        if self._distance is None or not mask.any():
            return 0.0, 0.0
        distance = self._distance[_outline(mask)] / diameter
        distance = distance[np.abs(distance) < MAX_OFFSET]
        return (float(distance.mean()), float(distance.std())) if len(distance) else (0.0, 0.0)


def _find_surest(
    objects: Int32[ndarray, "h w"],
    count: int,
    confidence: Float32[ndarray, "h w"],
    object_area: float,
    other: Mask | None = None,
) -> _Object:
    """The object of which it is surest that it is right; none that the other mask covers."""
    if not count:
        return _Object(0.0, None)
    flat = objects.ravel()
    areas = np.bincount(flat, minlength=count + 1)[1:]
    sure = np.bincount(flat, confidence.ravel(), minlength=count + 1)[1:] / areas
    evidence = np.minimum(areas / object_area, 1) * np.clip(2 * sure - 1, 0, 1)
    if other is not None:
        covered = np.bincount(flat, other.ravel(), minlength=count + 1)[1:]
        evidence[covered > MATCHED_SHARE * areas] = 0
    return _largest(objects, evidence)


def _largest(objects: Int32[ndarray, "h w"], evidence: Float64[ndarray, " n"]) -> _Object:
    number = int(evidence.argmax())
    if evidence[number] <= 0:
        return _Object(0.0, None)
    return _Object(float(evidence[number]), box_of(objects == number + 1))


def box_of(mask: Mask) -> Box:
    """The smallest box that holds a mask, which must not be empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _softmin(quality: Float32[ndarray, " n"]) -> float:
    """The mean of the pixels' label quality, those of low quality weighted most."""
    if not quality.size:
        return 1.0
    weights = np.exp((1 - quality) / SOFTMIN_TEMPERATURE)
    return float((quality * weights).sum() / weights.sum())


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 1.0


def _pool(values: Float32[ndarray, "h w"], step: int) -> Float32[ndarray, "h2 w2"]:
    """The means of squares of so many pixels; what is left at the edges is cut off."""
    if step == 1:
        return values
    height, width = (length // step * step for length in values.shape)
    squares = values[:height, :width].reshape(height // step, step, width // step, step)
    return squares.mean((1, 3), dtype=np.float32)


def _label(mask: Mask) -> tuple[Int32[ndarray, "h w"], int]:
    from scipy import ndimage

    objects, count = ndimage.label(mask)
    return objects, count


def _signed_distance(mask: Mask) -> Float64[ndarray, "h w"]:
    """The distance from the mask's outermost pixels: positive outside, negative inside."""
    from scipy import ndimage

    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    signed: Float64[ndarray, "h w"] = outside - inside + mask
    return signed


def _outline(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner

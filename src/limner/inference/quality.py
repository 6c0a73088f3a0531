"""The predicted Dice of a mask: features of its probabilities, and a ridge regression on them.

The features are computed from sums over canvases (`MaskStatistics`), so that an image of any size
needs little memory. The regression is fitted on validation images.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray
from scipy import ndimage

from limner.metrics.overlap import JACCARD_THRESHOLD

RIM_PX = 6
"""Width of the rims inside and outside of an outline that are compared."""
MIN_FIT_IMAGES = 20
"""Fewest validation images for a fit; with fewer, the expected Dice is the predicted one."""
REVIEWED_SHARE = 0.2
"""Share of images, those of the lowest predicted Dice, that a person is assumed to review."""
MAX_DEVIATIONS = 4.0
"""Features are clipped at so many standard deviations: nothing was fitted beyond."""
RIDGE_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
LIKELY, POSSIBLE = 0.75, 0.25
"""Probabilities from which a pixel is likely, and possible, to be of a class."""


@dataclass(frozen=True, slots=True)
class MaskStatistics:
    """Sums over one canvas for one class, from which the features are computed.

    "The mask" is where the class was predicted. Its outline is its pixels beside other pixels. Its
    rims are `RIM_PX` wide. Probabilities are calibrated, and grey values are in 0..1.
    """

    pixels: float
    """Pixels of the canvas."""
    area: float
    """Pixels of the mask."""
    probability: float
    """Sum of the class's probability over the canvas: the expected area."""
    probability_inside: float
    """The same over the mask: the expected true positives."""
    entropy: float
    """Sum of the entropy over the canvas."""
    entropy_inside: float
    """The same over the mask."""
    outline: float
    """Pixels of the outline."""
    outline_at_border: float
    """Those of them within `RIM_PX` of the canvas's border."""
    components: float
    """Connected components of the mask."""
    likely: float
    """Pixels whose probability is at least 0.75."""
    possible: float
    """Pixels whose probability is at least 0.25."""
    gradient: float
    """Sum of the probability's gradient over the outline."""
    grey_inner: float
    """Sum of the grey values in the inner rim."""
    grey_outer: float
    """The same in the outer rim."""
    inner_rim: float
    """Pixels of the inner rim."""
    outer_rim: float
    """Pixels of the outer rim."""
    grey_std: float
    """Standard deviation of the canvas's grey values."""


@dataclass(frozen=True, slots=True)
class QualityRegression:
    """A ridge regression from an image's features to its Dice."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def __call__(self, features: Float64[ndarray, " f"]) -> float:
        """Predict the Dice, in 0..1."""
        standardised = np.clip(
            (features - self.centre) / np.array(self.scale), -MAX_DEVIATIONS, MAX_DEVIATIONS
        )
        value = self.intercept + float(standardised @ np.array(self.weights))
        return min(max(value, 0.0), 1.0)


def mask_statistics(
    mask: Bool[ndarray, "h w"],
    probability: Float32[ndarray, "h w"],
    entropy: Float32[ndarray, "h w"],
    grey: Float32[ndarray, "h w"],
) -> MaskStatistics:
    """Sum up one class on one canvas.

    Args:
        mask: where the class was predicted.
        probability: its calibrated probability.
        entropy: of all classes, in 0..1.
        grey: the canvas's mean over channels, in 0..1.
    """
    # The outline and the rims are slow to find, so the rest of the canvas is cut off
    box = _bounding_box(mask)
    mask_box, probability_box, grey_box = mask[box], probability[box], grey[box]
    outline, inner = (
        mask_box & _dilate(~mask_box, width_px, beyond=True) for width_px in (1, RIM_PX)
    )
    outer = ~mask_box & _dilate(mask_box, RIM_PX, beyond=False)
    return MaskStatistics(
        pixels=float(mask.size),
        area=float(mask_box.sum()),
        probability=float(probability.sum()),
        probability_inside=float(probability_box[mask_box].sum()),
        entropy=float(entropy.sum()),
        entropy_inside=float(entropy[box][mask_box].sum()),
        outline=float(outline.sum()),
        outline_at_border=float(np.count_nonzero(outline & _near_border(mask.shape)[box])),
        components=float(ndimage.label(mask_box)[1]),
        likely=float(np.count_nonzero(probability >= LIKELY)),
        possible=float(np.count_nonzero(probability >= POSSIBLE)),
        gradient=_gradient_sum(probability_box, outline),
        grey_inner=float(grey_box[inner].sum()),
        grey_outer=float(grey_box[outer].sum()),
        inner_rim=float(inner.sum()),
        outer_rim=float(outer.sum()),
        grey_std=float(grey.std()),
    )


def quality_features(canvases: Sequence[Sequence[MaskStatistics]]) -> Float64[ndarray, " f"]:
    """Compute what the probabilities of one image tell about its Dice, without its true mask.

    The features are averaged over the scored classes that the image has. The first is the expected
    Dice: that under the calibrated probabilities, with pixels taken as independent.

    Args:
        canvases: for each canvas of the image, the statistics of each scored class.
    """
    classes = list(zip(*canvases, strict=True))
    present = [
        canvases_of_class
        for canvases_of_class in classes
        if any(statistics.area > 0 for statistics in canvases_of_class)
    ]
    return np.mean(
        [_class_features(canvases_of_class) for canvases_of_class in present or classes], 0
    )


def _class_features(canvases: Sequence[MaskStatistics]) -> Float64[ndarray, " f"]:
    total = MaskStatistics(
        *np.sum([astuple(statistics) for statistics in canvases], axis=0).tolist()
    )
    # A pixel's half, so that an empty mask of no doubt is expected to be right
    half = 0.5
    inner = total.grey_inner / max(total.inner_rim, 1)
    outer = total.grey_outer / max(total.outer_rim, 1)
    contrast = abs(inner - outer) / (total.grey_std / len(canvases) + 0.01)
    return np.array(
        [
            (2 * total.probability_inside + half) / (total.area + total.probability + half),
            np.log((total.entropy + 1) / np.sqrt(total.area + 1)),
            np.log((total.area + 1) / total.pixels),
            total.entropy_inside / (total.area + 1),
            np.log((total.outline + 1) / np.sqrt(total.area + 1)),
            total.outline_at_border / (total.outline + 1),
            np.log(total.components + 1),
            (total.likely + half) / (total.possible + half),
            np.log(total.gradient / (total.outline + 1) + 0.001),
            contrast,
        ]
    )


def _bounding_box(mask: Bool[ndarray, "h w"]) -> tuple[slice, slice]:
    """Find the rows and columns of a mask, with a rim around them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(0, rows[0] - RIM_PX), rows[-1] + 1 + RIM_PX),
        slice(max(0, columns[0] - RIM_PX), columns[-1] + 1 + RIM_PX),
    )


def _near_border(size_px: tuple[int, ...]) -> Bool[ndarray, "h w"]:
    near = np.ones(size_px, bool)
    near[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = False
    return near


def _gradient_sum(probability: Float32[ndarray, "h w"], outline: Bool[ndarray, "h w"]) -> float:
    """Sum the magnitude of the gradient over the outline; 0 where there are too few pixels."""
    if min(probability.shape) < 2:
        return 0.0
    places = np.nonzero(outline)
    differences = []
    for axis in (0, 1):
        # As np.gradient does it: between both neighbours, at the border to the one that is there
        after, before = [list(places), list(places)]
        after[axis] = np.minimum(places[axis] + 1, probability.shape[axis] - 1)
        before[axis] = np.maximum(places[axis] - 1, 0)
        steps = (after[axis] - before[axis]).astype(np.float32)
        differences.append((probability[tuple(after)] - probability[tuple(before)]) / steps)
    return float(np.hypot(*differences).sum())


def _dilate(mask: Bool[ndarray, "h w"], width_px: int, *, beyond: bool) -> Bool[ndarray, "h w"]:
    """Dilate a mask by a cross, so many times; `beyond` is the value outside of the array.

    The result is that of `ndimage.binary_dilation`, in a third of its time.
    """
    padded = np.pad(mask, 1, constant_values=beyond)
    dilated, beside = padded[1:-1, 1:-1], np.empty_like(mask)
    for _ in range(width_px):
        np.logical_or(padded[:-2, 1:-1], padded[2:, 1:-1], out=beside)
        beside |= padded[1:-1, :-2]
        beside |= padded[1:-1, 2:]
        dilated |= beside
    return dilated


def fit_quality(
    features: Float64[ndarray, "n f"], dice: Float64[ndarray, " n"]
) -> QualityRegression | None:
    """Fit the ridge regression; its strength has the lowest leave-one-out error.

    Args:
        features: of each image, from `quality_features`.
        dice: its true Dice; images of NaN are left out.

    Returns None for fewer than `MIN_FIT_IMAGES` images.
    """
    features, dice = features[~np.isnan(dice)], dice[~np.isnan(dice)]
    if len(dice) < MIN_FIT_IMAGES:
        return None
    centre, scale = features.mean(0), features.std(0) + 1e-6
    x, y = (features - centre) / scale, dice - dice.mean()
    solutions = (_solve_ridge(x, y, strength) for strength in RIDGE_STRENGTHS)
    weights, _ = min(solutions, key=lambda solution: solution[1])
    return QualityRegression(
        tuple(centre.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), float(dice.mean())
    )


def _solve_ridge(
    x: Float64[ndarray, "n f"], y: Float64[ndarray, " n"], strength: float
) -> tuple[Float64[ndarray, " f"], float]:
    """Return the weights, and the mean squared leave-one-out error."""
    inverse = np.linalg.inv(x.T @ x + strength * len(y) * np.eye(x.shape[1]))
    weights = inverse @ x.T @ y
    leverage = np.einsum("nf,fg,ng->n", x, inverse, x) + 1 / len(y)
    return weights, float((((y - x @ weights) / (1 - leverage)) ** 2).mean())


@dataclass(frozen=True, slots=True)
class QualityAgreement:
    """How predicted and true Dice agree, on images that nothing was fitted on."""

    spearman: float
    mean_absolute_error: float
    below: int
    """Images whose Jaccard is below 0.65."""
    found: int
    """Those of them among the fifth of the images with the lowest predicted Dice."""


def quality_agreement(
    dice: Float64[ndarray, " n"], jaccard: Float64[ndarray, " n"], predicted: Sequence[float | None]
) -> QualityAgreement | None:
    """Compare the predicted Dice of images with the true one.

    Args:
        dice: the true Dice; images of NaN are left out.
        jaccard: the true Jaccard index.
        predicted: the predicted Dice; images of None are left out.

    Returns None for fewer than 3 images, since their ranks would mean nothing.
    """
    rows = [
        row for row, value in enumerate(predicted) if value is not None and not np.isnan(dice[row])
    ]
    if len(rows) < 3:
        return None
    true, expected = dice[rows], np.array([predicted[row] for row in rows], float)
    poor = jaccard[rows] < JACCARD_THRESHOLD
    reviewed = np.argsort(expected, kind="stable")[: round(REVIEWED_SHARE * len(expected))]
    return QualityAgreement(
        spearman=_spearman(expected, true),
        mean_absolute_error=float(np.abs(expected - true).mean()),
        below=int(poor.sum()),
        found=int(poor[reviewed].sum()),
    )


def _spearman(first: Float64[ndarray, " n"], second: Float64[ndarray, " n"]) -> float:
    """Compute Spearman's rank correlation; NaN where either is constant."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return float("nan")
    # Imported here since it takes a second
    from scipy import stats

    return float(stats.spearmanr(first, second).statistic)

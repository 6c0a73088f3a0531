"""Surface distances: 95 % Hausdorff distance, average symmetric surface distance, surface Dice.

They are in pixels at the masks' own size. The surface of a mask is its pixels with a neighbour
beside, above or below that is not in it; the image's edge counts as outside.

Void pixels belong to no mask. From surface pixels that touch them no distance is measured, but the
other mask's distances to those pixels are.

The empty cases: where both masks are empty, or no surface is left to measure from, the distances
are 0 and the surface Dice 1. Where one mask is empty, the distances are the image's diagonal, as
far as anything can be, and the surface Dice 0. Where every pixel is void, all three are NaN.
"""

import math

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from numpy import ndarray
from scipy import ndimage

from limner.labels import VOID

TOLERANCE_PX = 2.0
"""Surfaces that lie no further apart count as equal in the surface Dice."""
SURFACE_METRICS = ("hausdorff_95_px", "surface_distance_px", "surface_dice")
"""By the names that tables and files use."""


def surface_metrics_per_class(
    prediction: UInt8[ndarray, "h w"],
    truth: UInt8[ndarray, "h w"],
    classes: tuple[int, ...],
    tolerance_px: float = TOLERANCE_PX,
) -> Float64[ndarray, "k 3"]:
    """Compute the surface metrics of each class, in the order of `SURFACE_METRICS`.

    Args:
        prediction: class indices.
        truth: class indices, or `VOID`.
        classes: the class indices that are scored.
        tolerance_px: of the surface Dice.
    """
    void = truth == VOID
    metrics = [
        surface_metrics(prediction == index, truth == index, void, tolerance_px)
        for index in classes
    ]
    return np.array(metrics).reshape(len(classes), 3)


def surface_metrics(
    prediction: Bool[ndarray, "h w"],
    truth: Bool[ndarray, "h w"],
    void: Bool[ndarray, "h w"],
    tolerance_px: float = TOLERANCE_PX,
) -> tuple[float, float, float]:
    """Compute the surface metrics of two binary masks.

    Args:
        prediction: one mask.
        truth: the other; every metric is symmetric.
        void: pixels that belong to neither.
        tolerance_px: of the surface Dice.

    Returns the Hausdorff distance (the larger 95th percentile of both directions), the average
    symmetric surface distance (ASSD), and the surface Dice: the share of both surfaces that lies
    within the tolerance of the other one (NSD, arXiv:1809.04430).
    """
    if void.all():
        return math.nan, math.nan, math.nan
    predicted_surface, true_surface = (_surface(mask & ~void) for mask in (prediction, truth))
    if not predicted_surface.any() and not true_surface.any():
        return 0.0, 0.0, 1.0
    if not predicted_surface.any() or not true_surface.any():
        diagonal_px = math.hypot(*truth.shape)
        return diagonal_px, diagonal_px, 0.0
    # Both surfaces lie within, so the distances are the same as in the whole image
    crop = _bounding_box(predicted_surface | true_surface)
    measured = ~ndimage.binary_dilation(void)[crop] if void.any() else np.ones_like(void[crop])
    predicted_surface, true_surface = predicted_surface[crop], true_surface[crop]
    to_truth = _distances(predicted_surface & measured, true_surface)
    to_prediction = _distances(true_surface & measured, predicted_surface)
    if not len(to_truth) and not len(to_prediction):
        return 0.0, 0.0, 1.0
    hausdorff_95 = max(
        np.percentile(distances, 95) for distances in (to_truth, to_prediction) if len(distances)
    )
    distances = np.concatenate([to_truth, to_prediction])
    surface_dice = (distances <= tolerance_px).mean()
    return float(hausdorff_95), float(distances.mean()), float(surface_dice)


def _surface(mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    surface: Bool[ndarray, "h w"] = mask & ~ndimage.binary_erosion(mask)
    return surface


def _bounding_box(mask: Bool[ndarray, "h w"]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _distances(
    from_surface: Bool[ndarray, "h w"], to_surface: Bool[ndarray, "h w"]
) -> Float64[ndarray, " n"]:
    """The distance of each pixel of one surface to the nearest pixel of another, in pixels."""
    distances: Float64[ndarray, "h w"] = ndimage.distance_transform_edt(~to_surface)
    return distances[from_surface]

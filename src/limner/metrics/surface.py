"""How far outlines lie apart: 95 % Hausdorff distance, average surface distance, surface Dice, in
pixels at the masks' own size.

The outline of a mask are its pixels with a neighbour beside, above or below that is not in it, the
image's edge counting as outside. Void pixels belong to no mask: from outline that touches them no
distance is measured, though the other mask's may be measured to it. The empty cases: where both
masks are empty, or no outline is left to measure from, the distances are 0 and the surface Dice 1;
where one mask is, the distances are the image's diagonal, as far as anything can be, and the
surface Dice 0.
"""

import math

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from numpy import ndarray
from scipy import ndimage

from limner.labels import VOID

TOLERANCE_PX = 2.0
SURFACE_METRICS = ("hausdorff_95_px", "surface_distance_px", "surface_dice")


def surface_metrics_per_class(
    prediction: UInt8[ndarray, "h w"],
    truth: UInt8[ndarray, "h w"],
    classes: tuple[int, ...],
    tolerance_px: float = TOLERANCE_PX,
) -> Float64[ndarray, "k 3"]:
    """The three measures of each class, in the order of `NAMES`."""
    void = truth == VOID
    return np.array(
        [
            surface_metrics(prediction == index, truth == index, void, tolerance_px)
            for index in classes
        ]
    ).reshape(len(classes), 3)


def surface_metrics(
    prediction: Bool[ndarray, "h w"],
    truth: Bool[ndarray, "h w"],
    void: Bool[ndarray, "h w"],
    tolerance_px: float = TOLERANCE_PX,
) -> tuple[float, float, float]:
    """95 % Hausdorff distance (the larger of both directions), average symmetric surface distance,
    and surface Dice.

    Surface Dice is the share of both outlines that lies within the tolerance of the other one
    (arXiv:1809.04430).
    """
    drawn, true = (
        mask & ~ndimage.binary_erosion(mask) for mask in (prediction & ~void, truth & ~void)
    )
    if not drawn.any() and not true.any():
        return 0.0, 0.0, 1.0
    if not drawn.any() or not true.any():
        return math.hypot(*truth.shape), math.hypot(*truth.shape), 0.0
    either = np.flatnonzero((drawn | true).any(1)), np.flatnonzero((drawn | true).any(0))
    part = tuple(
        slice(axis[0], axis[-1] + 1)
        for axis in either
        # Both outlines lie within, so the distances are the same
    )
    counts = ~ndimage.binary_dilation(void)[part] if void.any() else np.ones_like(void[part])
    drawn, true = drawn[part], true[part]
    to_true, to_drawn = (
        ndimage.distance_transform_edt(~true)[drawn & counts],
        ndimage.distance_transform_edt(~drawn)[true & counts],
    )
    if not len(to_true) and not len(to_drawn):
        return 0.0, 0.0, 1.0
    hausdorff = max(np.percentile(side, 95) for side in (to_true, to_drawn) if len(side))
    both = np.concatenate([to_true, to_drawn])
    return float(hausdorff), float(both.mean()), float((both <= tolerance_px).mean())

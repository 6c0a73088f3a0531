"""A prediction as it is sent: a PNG, or JSON with run lengths, polygons, areas and boxes."""

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.writers.png import encode_mask_png
from limner.inference.calibration import to_class_index
from limner.inference.predictor import Prediction
from limner.labels import Labels


def mask_at_threshold(prediction: Prediction, threshold: float | None) -> UInt8[ndarray, "h w"]:
    """The predicted mask, or without post-processing that at another foreground threshold."""
    if threshold is None:
        return prediction.mask
    return to_class_index(prediction.probabilities, threshold)


def mask_png(mask: UInt8[ndarray, "h w"], labels: Labels, only: int | None) -> bytes:
    """A mask as PNG in the dataset's pixel values, or 255 in the one class `only`."""
    if only is None:
        return encode_mask_png(labels.to_pixels(mask))
    return encode_mask_png((mask == only).astype(np.uint8) * np.uint8(255))


def describe_classes(
    mask: UInt8[ndarray, "h w"], labels: Labels, only: int | None
) -> list[dict[str, Any]]:
    """Each scored class, or one: its area, bounding box, COCO run lengths and polygons."""
    return [
        _describe_class(mask == index, labels.names[index], index)
        for index in (labels.scored if only is None else [only])
    ]


def _describe_class(inside: Bool[ndarray, "h w"], name: str, index: int) -> dict[str, Any]:
    from pycocotools import mask as coco

    run_lengths = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {
        "class": name,
        "class_index": index,
        "area_px": int(inside.sum()),
        "share": float(inside.mean()),
        "bbox": [int(value) for value in coco.toBbox(run_lengths)],
        "rle": {
            "size": [int(side) for side in run_lengths["size"]],
            "counts": run_lengths["counts"].decode("ascii"),
        },
        "polygons": polygons(inside),
    }


def polygons(inside: Bool[ndarray, "h w"]) -> list[list[list[float]]]:
    """Trace the outlines of a mask as rings of [x, y], in px from the upper left corner.

    A hole is a ring of its own, in the other direction.
    """
    from contourpy import LineType, contour_generator

    padded = np.pad(inside, 1).astype(np.float32)
    rings: Any = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    return [_without_collinear_points(ring - 0.5).tolist() for ring in rings]


def _without_collinear_points(ring: ndarray) -> ndarray:
    """A closed ring without the points on a line between their neighbours, and without its last
    point, which repeats the first.
    """
    ring = ring[:-1]
    ahead, behind = np.roll(ring, -1, axis=0) - ring, ring - np.roll(ring, 1, axis=0)
    corners = np.abs(ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]) > 1e-6
    return ring[corners] if corners.sum() >= 3 else ring

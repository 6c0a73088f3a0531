"""A prediction as what is sent: a PNG, or JSON with run lengths, polygons, areas and boxes."""

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.writers.png import encode_mask_png
from limner.inference.calibration import to_class_index
from limner.inference.predictor import Prediction
from limner.labels import Labels


def mask_at_threshold(prediction: Prediction, threshold: float | None) -> UInt8[ndarray, "h w"]:
    """The mask as validation chose to draw it, or at another threshold of the foreground, then
    without post-processing.
    """
    return (
        prediction.mask
        if threshold is None
        else to_class_index(prediction.probabilities, threshold)
    )


def mask_png(drawn: UInt8[ndarray, "h w"], labels: Labels, only: int | None) -> bytes:
    """The mask as the set writes them, or 255 where one class is."""
    return encode_mask_png(
        labels.to_pixels(drawn)
        if only is None
        else (drawn == only).astype(np.uint8) * np.uint8(255)
    )


def describe_classes(
    drawn: UInt8[ndarray, "h w"], labels: Labels, only: int | None
) -> list[dict[str, Any]]:
    """Each scored class, or one: its area, bounding box, COCO run lengths and polygons."""
    return [
        _of_class(drawn == index, labels.names[index], index)
        for index in (labels.scored if only is None else [only])
    ]


def _of_class(inside: Bool[ndarray, "h w"], name: str, index: int) -> dict[str, Any]:
    from pycocotools import mask

    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = (
        [
            int(columns[0]),
            int(rows[0]),
            int(columns[-1] - columns[0] + 1),
            int(rows[-1] - rows[0] + 1),
        ]
        if len(rows)
        else [0, 0, 0, 0]
    )
    lengths = mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {
        "class": name,
        "class_index": index,
        "area_px": int(inside.sum()),
        "share": float(inside.mean()),
        "bbox": box,
        "rle": {
            "size": [int(side) for side in lengths["size"]],
            "counts": lengths["counts"].decode("ascii"),
        },
        "polygons": polygons(inside),
    }


def polygons(inside: Bool[ndarray, "h w"]) -> list[list[list[float]]]:
    """Rings of [x, y] along the outlines of a mask, in px from its upper left corner; a hole is a
    ring of its own, turned the other way.
    """
    from contourpy import LineType, contour_generator

    padded = np.pad(inside, 1).astype(np.float32)
    rings: Any = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    return [_straightened(ring - 0.5).tolist() for ring in rings]


def _straightened(ring: ndarray) -> ndarray:
    """A closed ring without the points that lie between two others on a line, and without its last,
    which is its first.
    """
    ring = ring[:-1]
    ahead, behind = np.roll(ring, -1, axis=0) - ring, ring - np.roll(ring, 1, axis=0)
    turns = np.abs(ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]) > 1e-6
    return ring[turns] if turns.sum() >= 3 else ring

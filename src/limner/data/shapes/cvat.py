"""CVAT's shapes: polygons, boxes and ellipses as pycocotools draws them, and exact masks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.shapes.coco import draw_segmentation
from limner.data.shapes.outlines import ellipse_polygon, rectangle_polygon
from limner.data.shapes.part import ShapePart, part_in_box

AREA_KINDS = frozenset({"polygon", "box", "ellipse", "mask"})
"""Elements that cover an area."""


def draw_cvat_shape(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a shape.

    Args:
        shape: The attributes of its element, and its `kind`.
        size_px: Height and width of the image.

    Raises ValueError for a kind without an area, and for a mask that does not fill its box or the
    image; a malformed shape may raise anything.
    """
    kind = shape["kind"]
    if kind == "mask":
        return _mask_part(shape, size_px)
    degrees = float(shape.get("rotation", 0))
    if kind == "polygon":
        polygon = [float(n) for point in shape["points"].split(";") for n in point.split(",")]
    elif kind == "box":
        left, top, right, bottom = (float(shape[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        polygon = _box_polygon((left, top, right, bottom), degrees)
    elif kind == "ellipse":
        x, y, across, down = (float(shape[name]) for name in ("cx", "cy", "rx", "ry"))
        polygon = ellipse_polygon((x, y), (across, down), degrees)
    else:
        raise ValueError(f"a {kind} covers no area")
    return draw_segmentation([polygon], size_px)


def _box_polygon(box: tuple[float, float, float, float], degrees: float) -> list[float]:
    """The corners of a box that is turned round its centre."""
    left, top, right, bottom = box
    half = np.array([right - left, bottom - top]) / 2
    corners = rectangle_polygon((0, 0), (right - left, bottom - top), degrees)
    centre = rectangle_polygon((0, 0), tuple(half.tolist()), degrees)[4:6]
    shift = np.array([left, top]) + half - centre
    points: list[float] = (np.array(corners).reshape(-1, 2) + shift).ravel().tolist()
    return points


def _mask_part(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Runs within a box, row by row, of background and object in turn."""
    left, top, width, height = (
        round(float(shape[name])) for name in ("left", "top", "width", "height")
    )
    runs = np.array([int(run) for run in shape["rle"].split(",")], np.int64)
    if (runs < 0).any() or runs.sum() != width * height:
        raise ValueError(
            f"the run lengths of a mask cover {runs.sum()} of {width}x{height} pixels of its box"
        )
    pixels: Bool[ndarray, "h w"] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(
        height, width
    )
    return part_in_box(top, left, pixels, size_px)

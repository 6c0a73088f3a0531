"""The shapes of annotations, polygons and run lengths, as pixels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from limner.data.shapes.part import ShapePart

Polygon = Sequence[int | float]
"""x, y, x, y, ... in px."""

MAX_OUTSIDE = 16
"""A polygon's points lie at most so many times the image's longer side from its origin."""


def draw_segmentation(segmentation: Any, size_px: tuple[int, int]) -> ShapePart:
    """Draw the segmentation of a COCO annotation.

    Args:
        segmentation: Run lengths with their size, or a list of polygons.
        size_px: Height and width of the image.

    Raises ValueError for a segmentation that does not fit the image; one that is malformed may
    raise anything.
    """
    if isinstance(segmentation, Mapping):
        return ShapePart(0, 0, _draw_run_lengths(segmentation, size_px))
    return ShapePart(0, 0, _draw_polygons(segmentation, _corner_of(segmentation, size_px)))


def segmentation_area(segmentation: Any) -> float:
    """Measure a COCO segmentation in px²: all of its runs, or its largest polygon.

    It is 0 for a malformed one, which `draw_segmentation` refuses.
    """
    try:
        if isinstance(segmentation, Mapping):
            return float(sum(_runs(segmentation)[1::2]))
        return max(polygon_area(polygon) for polygon in segmentation)
    except (KeyError, TypeError, ValueError):
        return 0.0


def has_hole(segmentation: Any) -> bool:
    """Whether the corners of a polygon lie within another one of the same object.

    It is then drawn as a hole. False for run lengths, and for a malformed segmentation.
    """
    if not isinstance(segmentation, list) or len(segmentation) < 2:
        return False
    try:
        outlines = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
    except (TypeError, ValueError):
        return False
    return any(
        _lies_within(inner, outer) for inner in outlines for outer in outlines if inner is not outer
    )


def _lies_within(inner: Float64[ndarray, "n 2"], outer: Float64[ndarray, "m 2"]) -> bool:
    """Whether all corners of an outline lie within another, by the even-odd rule."""
    if (inner.min(0) < outer.min(0)).any() or (inner.max(0) > outer.max(0)).any():
        return False
    starts, ends = outer, np.roll(outer, -1, axis=0)
    x, y = inner[:, :1], inner[:, 1:]
    crosses = (starts[:, 1] > y) != (ends[:, 1] > y)
    rise = np.where(crosses, ends[:, 1] - starts[:, 1], 1.0)
    at = starts[:, 0] + (y - starts[:, 1]) * (ends[:, 0] - starts[:, 0]) / rise
    inside: Bool[ndarray, " n"] = (crosses & (x < at)).sum(axis=1) % 2 == 1
    return bool(inside.all())


def polygon_area(polygon: Polygon) -> float:
    """Measure the area in px² that a polygon encloses, by the shoelace formula.

    It is 0 where a coordinate is missing or not finite.
    """
    x, y = np.array(polygon[0::2], np.float64), np.array(polygon[1::2], np.float64)
    if len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def decode_rle(counts: str) -> list[int]:
    """Decode the compressed run lengths of COCO (maskApi.c, rleFrString).

    A character holds 5 bits, lowest first; its sixth bit says that more follow. From the third
    number on, each is the difference to the one two places before. Raises ValueError for other
    characters, and for a text that ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its run lengths hold the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run lengths end within a number")
    return runs


def _runs(segmentation: Mapping[str, Any]) -> list[int]:
    counts = segmentation["counts"]
    return counts if isinstance(counts, list) else decode_rle(counts)


def _draw_run_lengths(
    segmentation: Mapping[str, Any], size_px: tuple[int, int]
) -> Bool[ndarray, "h w"]:
    """Run lengths count background and object in turn, column by column."""
    height, width = size_px
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(
            f"its run lengths are of size {segmentation['size']}, not {[height, width]}"
        )
    runs = np.array(_runs(segmentation), np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"its run lengths cover {runs.sum()} of {height * width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _corner_of(polygons: Sequence[Polygon], size_px: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the part of an image, from its origin on, in which polygons lie.

    Only what lies below and to the right is left out: moved polygons would round otherwise.
    """
    bottom, right = (
        max((math.ceil(max(polygon[axis::2])) for polygon in polygons), default=0) + 2
        for axis in (1, 0)
    )
    return min(size_px[0], max(bottom, 1)), min(size_px[1], max(right, 1))


def _draw_polygons(polygons: Sequence[Polygon], size_px: tuple[int, int]) -> Bool[ndarray, "h w"]:
    """The polygons of one object joined, but for one that lies within another, which is a hole."""
    mask = np.zeros(size_px, bool)
    parts: list[Bool[ndarray, "h w"]] = []
    for polygon in sorted(polygons, key=polygon_area, reverse=True):
        part = _draw_polygon(polygon, size_px)
        if any((part == other).all() for other in parts):
            continue
        is_hole = any((part <= other).all() for other in parts)
        mask = mask ^ part if is_hole else mask | part
        parts.append(part)
    return mask


def _draw_polygon(polygon: Polygon, size_px: tuple[int, int]) -> Bool[ndarray, "h w"]:
    from pycocotools import mask as coco_mask

    points = np.array(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise ValueError(
            f"a polygon has {len(polygon)} numbers, and needs pairs of three points or more"
        )
    # The time and memory that pycocotools takes grow with the length of a polygon's border
    if not np.isfinite(points).all() or np.abs(points).max() > MAX_OUTSIDE * max(size_px):
        raise ValueError("a polygon lies far outside of its image")
    return coco_mask.decode(coco_mask.frPyObjects([points.tolist()], *size_px))[..., 0].astype(bool)

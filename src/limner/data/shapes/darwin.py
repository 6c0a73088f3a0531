"""Shapes of Darwin (V7), as its own export of masks draws them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limner.data.shapes.part import ShapePart, part_in_box
from limner.errors import requires_extra


def draw_darwin_shape(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a polygon with its holes by upolygon, or take a number of a raster layer.

    Args:
        shape: The `paths` of a polygon, which are lists of points {x, y}. Or the `runs` of a raster
            layer, which are values and counts in turn, row by row, and the `number` in it.
        size_px: Height and width of the image.

    Raises ValueError for runs that do not fill the image.
    """
    if "paths" in shape:
        return part_in_box(0, 0, _draw_polygon(shape["paths"], size_px) > 0, size_px)
    runs = np.array(shape["runs"], np.int64).reshape(-1, 2)
    if (runs[:, 1] < 0).any() or runs[:, 1].sum() != size_px[0] * size_px[1]:
        raise ValueError(f"its runs cover {runs[:, 1].sum()} of {size_px[0] * size_px[1]} pixels")
    inside = np.repeat(runs[:, 0] == shape["number"], runs[:, 1]).reshape(size_px)
    return part_in_box(0, 0, inside, size_px)


def _draw_polygon(
    paths: Sequence[Sequence[Mapping[str, int | float]]], size_px: tuple[int, int]
) -> Any:
    """Round the corners, which are kept within the image, and fill them."""
    with requires_extra("Darwin's polygons", "darwin"):
        from upolygon import draw_polygon
    height, width = size_px
    corners = [
        [
            round(max(min(point[axis], side - 1), 0))
            for point in path
            for axis, side in (("x", width), ("y", height))
        ]
        for path in paths
    ]
    mask = np.zeros(size_px, np.uint8)
    draw_polygon(mask, corners, 1)
    return mask

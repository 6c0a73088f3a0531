"""Polygons as the pixels whose centre lies within them, by the even-odd rule."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.shapes.part import EMPTY_PART, ShapePart, part_of_spans
from limner.data.shapes.scanline import Edges


def draw_pixel_centres(
    outlines: Sequence[Float64[ndarray, "_ 2"]], size_px: tuple[int, int]
) -> ShapePart:
    """Draw what lies within an odd number of outlines, such as a polygon and its holes.

    A centre on a left or upper edge is drawn, and one on a right or lower edge is not.

    Args:
        outlines: The corners (x, y) in px of each; the last is joined to the first.
        size_px: Height and width of the image.
    """
    if not outlines:
        return EMPTY_PART
    starts = np.concatenate([np.roll(points, 1, axis=0) for points in outlines])
    ends = np.concatenate(outlines)
    upwards = (ends[:, 1] < starts[:, 1])[:, None]
    upper, lower = np.where(upwards, ends, starts), np.where(upwards, starts, ends)
    first, last = (np.ceil(points[:, 1] - 0.5).astype(np.int64) for points in (upper, lower))
    across, down = (lower - upper).T
    slope = across / np.where(down > 0, down, 1)
    x = upper[:, 0] + (first + 0.5 - upper[:, 1]) * slope
    rows, left, right = Edges(first, last, x, slope).spans(size_px[0])
    columns = [np.ceil(ends - 0.5).astype(np.int64) for ends in (left, right)]
    return part_of_spans(rows, columns[0], columns[1] - 1, size_px)

"""Outlines of ImageJ's regions of interest: the pixels whose centre lies within, even-odd."""

from collections.abc import Sequence

import numpy as np

from limner.data.shapes.centres import draw_pixel_centres
from limner.data.shapes.part import ShapePart


def draw_imagej_outlines(
    outlines: Sequence[Sequence[Sequence[int | float]]], size_px: tuple[int, int]
) -> ShapePart:
    """Draw a region of one or several outlines, of which some may be holes.

    Args:
        outlines: The corners (x, y) of each, in px.
        size_px: Height and width of the image.
    """
    return draw_pixel_centres(
        [np.array(points, np.float64).reshape(-1, 2) for points in outlines], size_px
    )

"""The outlines of masks as polygons."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray


def trace_outlines(inside: Bool[ndarray, "h w"]) -> list[Float64[ndarray, "_ 2"]]:
    """Trace the outlines of a mask as rings of x and y, in px from the upper left corner.

    A hole is a ring of its own, in the other direction. A ring does not repeat its first point.
    """
    from contourpy import LineType, contour_generator

    padded = np.pad(inside, 1).astype(np.float32)
    rings: Any = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    return [_without_collinear_points(ring - 0.5) for ring in rings]


def _without_collinear_points(ring: Float64[ndarray, "n 2"]) -> Float64[ndarray, "m 2"]:
    """A closed ring without the points on a line between their neighbours, and without its last
    point, which repeats the first.
    """
    ring = ring[:-1]
    ahead, behind = np.roll(ring, -1, axis=0) - ring, ring - np.roll(ring, 1, axis=0)
    corners = np.abs(ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]) > 1e-6
    return ring[corners] if corners.sum() >= 3 else ring

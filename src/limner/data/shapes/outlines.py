"""Rectangles and ellipses as polygons x, y, x, y, ... in px."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

ELLIPSE_POINTS = 720
"""The corners of an ellipse, as many as datumaro gives it when it makes masks."""


def rectangle_polygon(
    corner: tuple[int | float, int | float], size: tuple[float, float], degrees: int | float = 0
) -> list[float]:
    """The corners of a rectangle that is turned round its first corner, clockwise.

    Args:
        corner: x and y of the upper left corner before the turn.
        size: Width and height.
        degrees: The angle.
    """
    (x, y), (width, height) = corner, size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    points: list[float] = (_turned(corners, degrees) + np.array([x, y])).ravel().tolist()
    return points


def ellipse_polygon(
    centre: tuple[int | float, int | float], radii: tuple[float, float], degrees: int | float = 0
) -> list[float]:
    """Points on an ellipse that is turned round its centre, clockwise.

    Args:
        centre: x and y.
        radii: Half of its width and of its height before the turn.
        degrees: The angle.
    """
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS)
    points = np.stack([radii[0] * np.cos(angles), radii[1] * np.sin(angles)], axis=1)
    turned: list[float] = (_turned(points, degrees) + np.array(centre)).ravel().tolist()
    return turned


def _turned(points: Float64[ndarray, "n 2"], degrees: int | float) -> Float64[ndarray, "n 2"]:
    """Turn points round the origin; y points down, so that this is clockwise."""
    if not degrees:
        return points
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return points @ np.array([[cosine, sine], [-sine, cosine]])

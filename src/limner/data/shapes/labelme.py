"""labelme's shapes, as labelme itself turns them into masks: with Pillow, border included.

Pillow drops the fraction of a coordinate. Lines and points have a width of their own.
"""

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from limner.data.shapes.part import EMPTY_PART, ShapePart, part_in_box

LINE_WIDTH_PX, POINT_RADIUS_PX = 10, 5
POINT_COUNTS = {
    "point": 1,
    "circle": 2,
    "rectangle": 2,
    "line": 2,
    "mask": 2,
    "oriented_rectangle": 4,
}
"""How many points a shape of each kind has, where that is fixed."""
MIN_POLYGON_POINTS = 3
MAX_OUTSIDE = 16
"""Points lie at most so many times the image's longer side from its origin."""


def draw_labelme_shape(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a shape.

    Args:
        shape: Its `shape_type` and `points`, and of a mask the picture in `mask`.
        size_px: Height and width of the image.

    Raises ValueError for a kind that labelme has no rule for, and for other points than the kind
    has; a malformed shape may raise anything.
    """
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if len(points) != POINT_COUNTS.get(kind, len(points)):
        raise ValueError(f"a {kind} has {len(points)} points in place of {POINT_COUNTS[kind]}")
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > MAX_OUTSIDE * max(size_px):
        raise ValueError(f"a {kind} lies far outside of its image")
    if kind == "mask":
        return _mask_part(shape["mask"], points, size_px)
    reach = max(POINT_RADIUS_PX, LINE_WIDTH_PX)
    if kind == "circle":
        reach = math.ceil(math.dist(*points))
    right = min(size_px[1], int(max(x for x, _ in points)) + reach + 2)
    bottom = min(size_px[0], int(max(y for _, y in points)) + reach + 2)
    if right <= 0 or bottom <= 0:
        return EMPTY_PART
    # From the image's own corner on: elsewhere Pillow rounds otherwise
    canvas = Image.new("L", (right, bottom))
    _draw(ImageDraw.Draw(canvas), kind, points)
    return ShapePart(0, 0, np.asarray(canvas) > 0)


def _draw(draw: ImageDraw.ImageDraw, kind: str, points: list[tuple[float, float]]) -> None:
    if kind in {"polygon", "oriented_rectangle"}:
        if len(points) < MIN_POLYGON_POINTS:
            raise ValueError(f"a polygon has {len(points)} points, and needs 3")
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        draw.rectangle(box, fill=1, outline=1)
    elif kind in {"line", "linestrip"}:
        draw.line(points, fill=1, width=LINE_WIDTH_PX)
    elif kind in {"circle", "point"}:
        x, y = points[0]
        radius = math.dist(*points) if kind == "circle" else POINT_RADIUS_PX
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    else:
        raise ValueError(f"labelme has no rule for the area of a shape of the kind {kind!r}")


def _mask_part(text: str, points: list[tuple[float, float]], size_px: tuple[int, int]) -> ShapePart:
    """A picture in a box, both corners included. Raises ValueError where it does not fit."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as file:
        if file.size != (right - left + 1, bottom - top + 1):
            raise ValueError(
                f"a mask of {file.width}x{file.height} px is to fill a box of "
                f"{right - left + 1}x{bottom - top + 1}"
            )
        pixels = np.asarray(file.convert("L")) > 0
    return part_in_box(top, left, pixels, size_px)

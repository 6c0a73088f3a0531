"""Shapes of the VGG Image Annotator (VIA, doi:10.1145/3343031.3350535), as pycocotools draws them.

So they become masks by VIA's own export to COCO.
"""

import math
from collections.abc import Mapping
from typing import Any

from limner.data.shapes.coco import draw_segmentation
from limner.data.shapes.outlines import ellipse_polygon, rectangle_polygon
from limner.data.shapes.part import ShapePart

AREA_KINDS = frozenset({"polygon", "rect", "circle", "ellipse"})
"""Shapes that cover an area."""


def draw_via_shape(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a shape.

    Args:
        shape: Its `shape_attributes`.
        size_px: Height and width of the image.

    Raises ValueError for a kind without an area; a malformed shape may raise anything.
    """
    kind = shape.get("name")
    if kind == "polygon":
        points = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
        polygon = [float(number) for point in points for number in point]
    elif kind == "rect":
        x, y, width, height = (float(shape[name]) for name in ("x", "y", "width", "height"))
        polygon = rectangle_polygon((x, y), (width, height))
    elif kind in {"circle", "ellipse"}:
        x, y = float(shape["cx"]), float(shape["cy"])
        across = float(shape["r"] if kind == "circle" else shape["rx"])
        down = float(shape["r"] if kind == "circle" else shape["ry"])
        degrees = math.degrees(float(shape.get("theta") or 0))
        polygon = ellipse_polygon((x, y), (across, down), degrees)
    else:
        raise ValueError(f"a {kind} covers no area")
    return draw_segmentation([polygon], size_px)

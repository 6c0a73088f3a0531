"""Polygons of GeoJSON (RFC 7946) in pixels, with their holes: what has its centre within."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from limner.data.shapes.centres import draw_pixel_centres
from limner.data.shapes.part import EMPTY_PART, ShapePart

AREA_KINDS = frozenset({"Polygon", "MultiPolygon"})
"""Geometries that cover an area."""


def draw_geojson_geometry(geometry: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a geometry.

    Args:
        geometry: Its `type` and `coordinates`.
        size_px: Height and width of the image.

    Raises ValueError for a kind without an area; a malformed geometry may raise anything.
    """
    kind = geometry["type"]
    if kind not in AREA_KINDS:
        raise ValueError(f"a {kind} covers no area")
    coordinates = geometry["coordinates"]
    polygons = [coordinates] if kind == "Polygon" else coordinates
    parts = [
        draw_pixel_centres(
            [np.array(ring, np.float64).reshape(len(ring), -1)[:, :2] for ring in polygon], size_px
        )
        for polygon in polygons
    ]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY_PART
    mask = np.zeros(size_px, np.uint8)
    for part in parts:
        part.paint(mask, 1)
    return ShapePart(0, 0, mask > 0)

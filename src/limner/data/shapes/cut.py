"""Shapes cut to parts of an image, so that a slide's mask is never drawn whole."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.views import Box

ClassShape = tuple[int, Mapping[str, Any]]
"""The class index of a shape, and the shape."""


def cut_geometries(
    shapes: Sequence[ClassShape], boxes: Sequence[Box]
) -> Iterator[list[ClassShape]]:
    """Cut polygons of GeoJSON to boxes; drawn in a box, they are what the whole is there.

    Where an edge goes through the centre of a pixel, the last digit of a sum decides.

    Args:
        shapes: Each a `Polygon` or a `MultiPolygon` of pixels.
        boxes: The parts of the image.

    Returns:
        For each box the shapes that reach into it, in pixels of the box.
    """
    polygons = [(class_index, _polygons(geometry)) for class_index, geometry in shapes]
    lowest = np.array([_corner(parts, np.min) for _, parts in polygons]).reshape(-1, 2)
    highest = np.array([_corner(parts, np.max) for _, parts in polygons]).reshape(-1, 2)
    for box in boxes:
        top, left, bottom, right = box.edges
        reaches = (lowest < (right, bottom)) & (highest > (left, top))
        cut: list[ClassShape] = []
        for position in np.flatnonzero(reaches.all(axis=1)).tolist():
            class_index, parts = polygons[position]
            inside = [rings for part in parts if (rings := _cut_polygon(part, box))]
            if inside:
                cut.append((class_index, {"type": "MultiPolygon", "coordinates": inside}))
        yield cut


def _polygons(geometry: Mapping[str, Any]) -> list[list[Float64[ndarray, "_ 2"]]]:
    coordinates = geometry["coordinates"]
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    return [
        [np.array(ring, np.float64).reshape(len(ring), -1)[:, :2] for ring in polygon]
        for polygon in polygons
    ]


def _corner(polygons: list[list[Float64[ndarray, "_ 2"]]], choose: Any) -> Float64[ndarray, "2"]:
    rings = [ring for polygon in polygons for ring in polygon if len(ring)]
    return choose(np.concatenate(rings), axis=0) if rings else np.full(2, np.nan)


def _cut_polygon(rings: list[Float64[ndarray, "_ 2"]], box: Box) -> list[list[list[float]]]:
    cut = [_cut_ring(ring, box) for ring in rings]
    return [(ring - (box.left, box.top)).tolist() for ring in cut if len(ring) > 2]


def _cut_ring(ring: Float64[ndarray, "_ 2"], box: Box) -> Float64[ndarray, "_ 2"]:
    """Leave out corners beside the box whose neighbours lie on the same side of it.

    A straight line then takes the place of the path through them. It lies on that side too, and
    crosses the same rows, so that what is within stays within.
    """
    top, left, bottom, right = box.edges
    for axis, low, high in ((0, left, right), (1, top, bottom)):
        for is_low in (True, False):
            along = ring[:, axis]
            beside = along < low if is_low else along > high
            ring = ring[~(beside & np.roll(beside, 1) & np.roll(beside, -1))]
    return ring

"""GeoJSON of all images in map coordinates: polygons with holes of all connected parts."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from limner.data.readers.georeference import Georeference, read_georeference
from limner.data.shapes.trace import Outline, TracedPart, trace_parts
from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.labels import VOID
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

WGS84 = 4326
"""Longitude and latitude, which RFC 7946 wants. Of other systems the code is stated as GDAL and
QGIS read it.
"""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `masks.geojson`, with the class and the image of each polygon.

    Returns what the format cannot hold: void.

    Raises LimnerError for an image without a georeference, and for two coordinate systems.
    """
    labels, void = predictions.labels, 0
    features = list[dict[str, Any]]()
    codes = dict[int | None, str]()
    for kept in masks:
        place = _place_of(kept, predictions)
        codes.setdefault(place.epsg, kept.entry.name)
        for index in labels.scored:
            for part in trace_parts(kept.mask == index):
                properties = {"class": labels.names[index], "image": kept.image_name}
                features.append(_feature(part, place, properties))
        void += bool((kept.mask == VOID).any())
    _require_one_system(codes)
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    code = next(iter(codes), None)
    if code not in {None, WGS84}:
        name = {"name": f"urn:ogc:def:crs:EPSG::{code}"}
        content["crs"] = {"type": "name", "properties": name}
    out.write_bytes("masks.geojson", json.dumps(content).encode())
    return void_lost(void, "GeoJSON")


def _place_of(kept: KeptMask, predictions: Predictions) -> Georeference:
    with predictions.image_file(kept.entry) as path:
        place = read_georeference(path)
    if place is None:
        raise LimnerError(
            f"{kept.entry.image} has no georeference, so its polygons have no map coordinates. "
            "Write --format qupath for polygons in pixels, or give GeoTIFFs."
        )
    return place


def _require_one_system(codes: dict[int | None, str]) -> None:
    if len(codes) > 1:
        named = " and ".join(f"EPSG:{code} ({name})" for code, name in list(codes.items())[:2])
        raise LimnerError(
            f"the images are in {len(codes)} coordinate systems: {named}. A GeoJSON has one: warp "
            "the images into the same (gdalwarp), or write --format geotiff."
        )


def _feature(part: TracedPart, place: Georeference, properties: dict[str, str]) -> dict[str, Any]:
    rings = [_ring(outline, place) for outline in (part.outline, *part.holes)]
    geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _ring(outline: Outline, place: Georeference) -> Sequence[Sequence[float]]:
    """A ring in coordinates, which ends where it begins.

    An outline is clockwise on the screen, and RFC 7946 wants an outer ring counter-clockwise.
    """
    points = place.to_coordinates(outline.astype(float)).tolist()
    width, height = place.affine[:, 0], place.affine[:, 1]
    if width[0] * height[1] - width[1] * height[0] < 0:
        points.reverse()
    ring: list[list[float]] = [*points, points[0]]
    return ring

"""QuPath: GeoJSON of each image, with the polygons and holes of all connected parts in pixels."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from limner.data.shapes.trace import Outline, TracedPart, trace_parts
from limner.data.storage import Storage
from limner.labels import VOID, Labels
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

IGNORED = "Ignore*"
"""QuPath's own class for what counts nowhere."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `x.geojson` for each image x; coordinates are in pixels of its full resolution."""
    for kept in masks:
        features = list(_features(kept, predictions.labels))
        content = json.dumps({"type": "FeatureCollection", "features": features})
        out.write_bytes(f"{kept.name}.geojson", content.encode())


def _features(kept: KeptMask, labels: Labels) -> Iterator[dict[str, Any]]:
    classes = {index: (labels.names[index], labels.colour(index)) for index in labels.scored}
    for value, (name, colour) in (classes | {VOID: (IGNORED, (180, 180, 180))}).items():
        for number, part in enumerate(trace_parts(kept.mask == value)):
            # The same mask gives the same file
            id = uuid.uuid5(uuid.NAMESPACE_URL, f"{kept.name}/{name}/{number}")
            yield {
                "type": "Feature",
                "id": str(id),
                "geometry": {"type": "Polygon", "coordinates": _rings(part)},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": name, "color": list(colour)},
                },
            }


def _rings(part: TracedPart) -> list[list[list[int]]]:
    """The outline and the holes; a ring of GeoJSON ends where it begins."""

    def closed(outline: Outline) -> list[list[int]]:
        points: list[list[int]] = outline.tolist()
        return [*points, points[0]]

    return [closed(part.outline), *map(closed, part.holes)]

"""Which rule draws the shapes of which tool."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from limner.data.shapes.bordered import draw_bordered_polygon
from limner.data.shapes.coco import draw_segmentation
from limner.data.shapes.cut import ClassShape, cut_geometries
from limner.data.shapes.cvat import draw_cvat_shape
from limner.data.shapes.darwin import draw_darwin_shape
from limner.data.shapes.dicom_seg import draw_dicom_segment
from limner.data.shapes.geojson import draw_geojson_geometry
from limner.data.shapes.imagej import draw_imagej_outlines
from limner.data.shapes.label_studio import draw_label_studio_region
from limner.data.shapes.labelme import draw_labelme_shape
from limner.data.shapes.part import ShapePart
from limner.data.shapes.run_lengths import draw_run_lengths
from limner.data.shapes.supervisely import draw_supervisely_object
from limner.data.shapes.via import draw_via_shape
from limner.data.views import Box

Rule = Callable[[Any, tuple[int, int]], ShapePart]
"""Draws a shape in an image of a height and a width.

It raises ValueError for a shape that does not fit; a malformed one may raise anything.
"""

Cut = Callable[[Sequence[ClassShape], Sequence[Box]], Iterable[list[ClassShape]]]
"""Cuts shapes with their class indices to parts of an image, as `cut_geometries` does."""


def draw_yolo_polygon(numbers: Sequence[float], size_px: tuple[int, int]) -> ShapePart:
    """Draw a polygon whose numbers x, y, x, y, ... are shares of the image's width and height.

    Raises ValueError for fewer than three points, and for one outside of the image.
    """
    points = np.array(numbers, np.float64).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f"a polygon has {len(points)} points, and needs 3")
    if not ((points >= 0) & (points <= 1)).all():
        raise ValueError("a polygon has points outside of 0..1, the shares of width and height")
    return draw_bordered_polygon((points * size_px[::-1]).astype(np.int64), size_px)


RULES: Mapping[str, Rule] = {
    "COCO": draw_segmentation,
    "labelme": draw_labelme_shape,
    "YOLO": draw_yolo_polygon,
    "Label Studio": draw_label_studio_region,
    "CVAT": draw_cvat_shape,
    "VIA": draw_via_shape,
    "Supervisely": draw_supervisely_object,
    "QuPath": draw_geojson_geometry,
    "ImageJ": draw_imagej_outlines,
    "run lengths": draw_run_lengths,
    "DICOM SEG": draw_dicom_segment,
    "Darwin": draw_darwin_shape,
}
"""By the tool's name, as an annotation mask has it."""
CUT: Mapping[str, Cut] = {"QuPath": cut_geometries}
"""Tools that annotate whole slides; what they draw is cut to the parts that are read."""
SMALLEST_ON_TOP = frozenset({"YOLO"})
"""Tools that paint shapes in the order of their areas, whatever order they stand in."""

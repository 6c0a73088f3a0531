"""ImageJ and Fiji: a zip of regions of interest for each image, with holes as composites."""

import io
import zipfile
from collections.abc import Iterator

import numpy as np
import roifile

from limner.data.shapes.trace import TracedPart, trace_parts
from limner.data.storage import Storage
from limner.labels import VOID, Labels
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

MOVE_TO, LINE_TO, CLOSE = 0, 1, 4
"""Segments of a composite region, as java.awt.geom.PathIterator numbers them."""
MIN_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the files in a zip, so that the same masks give the same zip."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `x.zip` for each image x; an image without an object has none.

    Returns what the format cannot hold: void.
    """
    void = 0
    for kept in masks:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for region in _regions(kept, predictions.labels):
                name = zipfile.ZipInfo(f"{region.name}.roi", MIN_DATE)
                archive.writestr(name, region.tobytes())
            empty = not archive.namelist()
        if not empty:
            out.write_bytes(f"{kept.name}.zip", content.getvalue())
        void += bool((kept.mask == VOID).any())
    return void_lost(void, "ImageJ")


def _regions(kept: KeptMask, labels: Labels) -> Iterator[roifile.ImagejRoi]:
    for class_index in labels.scored:
        for number, part in enumerate(trace_parts(kept.mask == class_index), start=1):
            region = _region(part)
            region.name = f"{labels.names[class_index]}-{number:04d}".replace("/", "_")
            region.properties = {"class": labels.names[class_index]}
            region.group = class_index
            yield region


def _region(part: TracedPart) -> roifile.ImagejRoi:
    region = roifile.ImagejRoi.frompoints(part.outline)
    if not part.holes:
        region.roitype = roifile.ROI_TYPE.TRACED
        return region
    path: list[int] = []
    for outline in (part.outline, *part.holes):
        for index, (x, y) in enumerate(outline.tolist()):
            path += [LINE_TO if index else MOVE_TO, x, y]
        path.append(CLOSE)
    region.roitype, region.integer_coordinates, region.n_coordinates = (
        roifile.ROI_TYPE.RECT,
        None,
        0,
    )
    region.multi_coordinates, region.shape_roi_size = np.array(path, np.float32), len(path)
    return region

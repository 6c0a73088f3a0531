"""COCO with polygons: an annotation for each connected part; one with holes as run lengths."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.shapes.trace import TracedPart, trace_parts
from limner.data.storage import Storage
from limner.labels import VOID
from limner.review.formats.coco import describe, describe_image, write_content
from limner.review.formats.parts import boxed_parts, void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `annotations.json`. Returns what the format cannot hold: void."""
    labels, void = predictions.labels, 0
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for image_id, kept in enumerate(masks, start=1):
        images.append(describe_image(image_id, kept))
        for number, class_index in enumerate(labels.scored, start=1):
            for part in _parts(kept.mask == class_index):
                ids = {"id": len(annotations) + 1, "image_id": image_id}
                annotations.append(ids | {"category_id": number} | part)
        void += bool((kept.mask == VOID).any())
    write_content(out, images, annotations, labels)
    return void_lost(void, "COCO")


def _parts(inside: Bool[ndarray, "h w"]) -> Iterator[dict[str, Any]]:
    """Describe the connected parts, in the order of their first pixels."""
    for traced, (top, left, pixels) in zip(trace_parts(inside), boxed_parts(inside), strict=True):
        if traced.holes:
            whole = np.zeros(inside.shape, bool)
            whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            yield describe(whole)
        else:
            yield _polygon(traced, top, left, pixels)


def _polygon(
    traced: TracedPart, top: int, left: int, pixels: Bool[ndarray, "h w"]
) -> dict[str, Any]:
    height, width = pixels.shape
    return {
        "iscrowd": 0,
        "area": int(pixels.sum()),
        "bbox": [float(left), float(top), float(width), float(height)],
        "segmentation": [[float(value) for value in traced.outline.ravel().tolist()]],
    }

"""COCO: one annotation for each image and class, as COCO's own compressed run lengths."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.storage import Storage
from limner.review.predictions import Predictions
from limner.review.verdicts import KeptMask


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `annotations.json`."""
    labels = predictions.labels
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for image_id, kept in enumerate(masks, start=1):
        height, width = kept.mask.shape
        images.append(
            {"id": image_id, "file_name": kept.image_name, "height": height, "width": width}
        )
        for class_index in labels.scored:
            inside = kept.mask == class_index
            if inside.any():
                ids = {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_index,
                }
                annotations.append(ids | _describe(inside))
    categories = [{"id": index, "name": labels.names[index]} for index in labels.scored]
    content = {"images": images, "annotations": annotations, "categories": categories}
    out.write_bytes("annotations.json", json.dumps(content).encode())


def _describe(inside: Bool[ndarray, "h w"]) -> dict[str, Any]:
    """The area, bounding box and run lengths of a mask."""
    from pycocotools import mask as coco

    run_lengths = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {
        "iscrowd": 0,
        "area": int(coco.area(run_lengths)),
        "bbox": [float(value) for value in coco.toBbox(run_lengths)],
        "segmentation": {
            "size": list(inside.shape),
            "counts": run_lengths["counts"].decode("ascii"),
        },
    }

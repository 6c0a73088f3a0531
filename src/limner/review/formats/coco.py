"""COCO: one annotation for each image and class, as COCO's own compressed run lengths."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.storage import Storage
from limner.labels import VOID, Labels
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `annotations.json`. Returns what the format cannot hold: void."""
    labels, void = predictions.labels, 0
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for image_id, kept in enumerate(masks, start=1):
        images.append(describe_image(image_id, kept))
        for number, class_index in enumerate(labels.scored, start=1):
            inside = kept.mask == class_index
            if inside.any():
                ids = {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": number,
                }
                annotations.append(ids | describe(inside))
        void += bool((kept.mask == VOID).any())
    write_content(out, images, annotations, labels)
    return void_lost(void, "COCO")


def describe_image(image_id: int, kept: KeptMask) -> dict[str, Any]:
    """The entry of an image."""
    height, width = kept.mask.shape
    return {"id": image_id, "file_name": kept.image_name, "height": height, "width": width}


def write_content(
    out: Storage,
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    labels: Labels,
) -> None:
    """Write `annotations.json`, with the classes from 1 on."""
    categories = [
        {"id": number, "name": labels.names[index]}
        for number, index in enumerate(labels.scored, start=1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    out.write_bytes("annotations.json", json.dumps(content).encode())


def describe(inside: Bool[ndarray, "h w"]) -> dict[str, Any]:
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

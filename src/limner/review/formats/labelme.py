"""labelme: a JSON for each image, with an exact mask of each connected part."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.storage import Storage
from limner.data.writers.png import encode_png
from limner.labels import VOID, Labels
from limner.review.formats.parts import boxed_parts
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

IGNORED = "__ignore__"
"""What labelme calls pixels that count nowhere."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `x.json` for each image x, to be put beside it, and `labels.txt`."""
    labels = predictions.labels
    for kept in masks:
        content = json.dumps(_content(kept, labels), ensure_ascii=False)
        out.write_bytes(f"{kept.name}.json", content.encode())
    names = [IGNORED, "_background_", *(labels.names[index] for index in labels.scored)]
    out.write_bytes("labels.txt", ("\n".join(names) + "\n").encode())


def _content(kept: KeptMask, labels: Labels) -> dict[str, Any]:
    height, width = kept.mask.shape
    names = {index: labels.names[index] for index in labels.scored} | {VOID: IGNORED}
    shapes = [
        _shape(names[value], top, left, pixels)
        for value in names
        for top, left, pixels in boxed_parts(kept.mask == value)
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": kept.image_name.rpartition("/")[2],
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shape(name: str, top: int, left: int, pixels: Bool[ndarray, "h w"]) -> dict[str, Any]:
    height, width = pixels.shape
    png = encode_png(pixels.astype(np.uint8))
    return {
        "label": name,
        "points": [[float(left), float(top)], [float(left + width - 1), float(top + height - 1)]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(png).decode("ascii"),
    }

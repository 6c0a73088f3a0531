"""The raw folder of nnU-Net version 2: images and masks as PNG, and `dataset.json`."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.storage import Storage
from limner.data.writers.png import encode_mask_png, encode_png
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.review.predictions import Predictions
from limner.review.verdicts import KeptMask


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `imagesTr`, `labelsTr` (class indices, void as the class `ignore`) and `dataset.json`.

    Raises LimnerError for two masks whose names become one, and for images of different channels.
    """
    labels, names, channels = predictions.labels, list[str](), 0
    for kept in masks:
        name = kept.name.replace("/", "_")
        if name in names:
            raise LimnerError(
                f"two masks would be called {name}, for nnU-Net knows no folders. Rename one "
                "of the images."
            )
        names.append(name)
        image = predictions.image(kept.entry)
        channels = channels or image.shape[2]
        if image.shape[2] != channels:
            raise LimnerError(
                f"{kept.entry.name} has {image.shape[2]} channels, and the images before it "
                "have others. nnU-Net needs the same in all."
            )
        _write_image(out, name, image)
        pixels = np.where(kept.mask == VOID, len(labels.names), kept.mask).astype(np.uint8)
        out.write_bytes(f"labelsTr/{name}.png", encode_mask_png(pixels))
    description = json.dumps(_description(labels, len(names), channels), indent=2)
    out.write_bytes("dataset.json", (description + "\n").encode())


def _write_image(out: Storage, name: str, image: UInt8[ndarray, "h w c"]) -> None:
    """Write an RGB image as one file, as nnU-Net's reader of natural images expects it, and any
    other image as a file for each channel.
    """
    planes = [image] if image.shape[2] == 3 else np.moveaxis(image, 2, 0)
    for channel, plane in enumerate(planes):
        content = encode_png(np.ascontiguousarray(plane))
        out.write_bytes(f"imagesTr/{name}_{channel:04d}.png", content)


def _description(labels: Labels, count: int, channels: int) -> dict[str, Any]:
    classes: dict[str, int] = {name: index for index, name in enumerate(labels.names)}
    if labels.void_values:
        classes["ignore"] = len(labels.names)
    channel_names = (
        ["R", "G", "B"] if channels == 3 else [f"channel {index}" for index in range(channels)]
    )
    return {
        "channel_names": {str(index): name for index, name in enumerate(channel_names)},
        "labels": classes,
        "numTraining": count,
        "file_ending": ".png",
    }

"""The raw folder of nnU-Net version 2: images in their own depth, masks, and `dataset.json`."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.images import read_values
from limner.data.storage import Storage
from limner.data.writers.png import encode_mask_png, encode_png
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

BACKGROUND = "background"
PNG, TIFF = ".png", ".tif"


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `imagesTr`, `labelsTr` (background 0, void as the class `ignore`) and `dataset.json`.

    Images are PNG where they have 8 or 16 bits, else TIFF; nnU-Net wants one kind in a dataset.

    Raises LimnerError for two masks whose names become one, and for images of different channels
    or kinds.
    """
    labels, names = predictions.labels, list[str]()
    kind: tuple[int, str] | None = None
    table = _numbers(labels)
    for kept in masks:
        name = kept.name.replace("/", "_")
        if name in names:
            raise LimnerError(
                f"two masks would be called {name}, for nnU-Net knows no folders. Rename one "
                "of the images."
            )
        names.append(name)
        with predictions.image_file(kept.entry) as path:
            values = read_values(path, page=kept.entry.page)
        own = values.shape[2], PNG if values.dtype in (np.uint8, np.uint16) else TIFF
        kind = kind or own
        if own != kind:
            raise LimnerError(
                f"{kept.entry.name} has {own[0]} channels of type {values.dtype}, and the images "
                "before it have others. nnU-Net needs the same in all."
            )
        _write_image(out, name, values, own[1])
        pixels = table[kept.mask]
        content = encode_mask_png(pixels) if own[1] == PNG else _encode(pixels, own[1])
        out.write_bytes(f"labelsTr/{name}{own[1]}", content)
    channels, ending = kind or (3, PNG)
    description = json.dumps(_description(labels, len(names), channels, ending), indent=2)
    out.write_bytes("dataset.json", (description + "\n").encode())


def _numbers(labels: Labels) -> UInt8[ndarray, "256"]:
    """The number of each class index in nnU-Net, whose background is 0 even where there is none."""
    first = int(labels.names[0] != BACKGROUND)
    table = np.zeros(256, np.uint8)
    table[: len(labels.names)] = np.arange(len(labels.names)) + first
    table[VOID] = len(labels.names) + first
    return table


def _write_image(out: Storage, name: str, values: Shaped[ndarray, "h w c"], ending: str) -> None:
    """Write an RGB image of 8 bits as one file, as nnU-Net's reader of natural images expects it,
    and any other image as a file for each channel.
    """
    is_colour = values.shape[2] == 3 and values.dtype == np.uint8
    planes = [values] if is_colour else np.moveaxis(values, 2, 0)
    for channel, plane in enumerate(planes):
        content = _encode(np.ascontiguousarray(plane), ending)
        out.write_bytes(f"imagesTr/{name}_{channel:04d}{ending}", content)


def _encode(pixels: Shaped[ndarray, "h w *c"], ending: str) -> bytes:
    if ending == PNG:
        return encode_png(pixels)
    import tifffile

    content = io.BytesIO()
    tifffile.imwrite(content, pixels, photometric="minisblack", compression="zlib")
    return content.getvalue()


def _description(labels: Labels, count: int, channels: int, ending: str) -> dict[str, Any]:
    numbers = _numbers(labels)
    classes = {BACKGROUND: 0}
    classes |= {labels.names[index]: int(numbers[index]) for index in labels.scored}
    if labels.void_values:
        classes["ignore"] = int(numbers[VOID])
    channel_names = (
        ["R", "G", "B"] if channels == 3 else [f"channel {index}" for index in range(channels)]
    )
    return {
        "channel_names": {str(index): name for index, name in enumerate(channel_names)},
        "labels": classes,
        "numTraining": count,
        "file_ending": ending,
    }

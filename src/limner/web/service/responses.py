"""A prediction as it is sent: a PNG, or JSON with run lengths, polygons, areas and boxes; and the
image, as browsers show it.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.image_pixels import to_rgb
from limner.data.writers.jpeg import encode_jpeg
from limner.data.writers.png import encode_mask_png
from limner.inference.calibration import to_class_index
from limner.inference.contours import trace_outlines
from limner.inference.prediction import Prediction
from limner.labels import Labels
from limner.measures.image_parts import measure_mask

PREVIEW_PX = 1600


def mask_at_threshold(prediction: Prediction, threshold: float | None) -> UInt8[ndarray, "h w"]:
    """The predicted mask, or without post-processing that at another foreground threshold."""
    if threshold is None:
        return prediction.mask
    return to_class_index(prediction.probabilities, threshold)


def mask_png(mask: UInt8[ndarray, "h w"], labels: Labels, only: int | None) -> bytes:
    """A mask as PNG in the dataset's pixel values, or 255 in the one class `only`."""
    if only is None:
        return encode_mask_png(labels.to_pixels(mask))
    return encode_mask_png((mask == only).astype(np.uint8) * np.uint8(255))


def pack_masks(masks: Sequence[tuple[str, Any]]) -> bytes:
    """Masks as PNG in a zip, by the names of their images; equal names get numbers.

    The image "stack.tif#3" gives stack-3.png.
    """
    file, taken = io.BytesIO(), Counter[str]()
    with zipfile.ZipFile(file, "w") as archive:
        for name, png in masks:
            file_name, mark, page = name.rpartition("#")
            is_page = bool(mark) and page.isdecimal()
            # A name may be a path, of any system
            path = PurePosixPath((file_name if is_page else name).replace("\\", "/"))
            stem = (path.stem.lstrip(".") or "mask") + (f"-{page}" if is_page else "")
            taken[stem] += 1
            number = "" if taken[stem] == 1 else f"-{taken[stem]}"
            archive.writestr(f"{stem}{number}.png", png)
    return file.getvalue()


def preview_jpeg(image: UInt8[ndarray, "h w c"]) -> bytes:
    """An image as JPEG of at most `PREVIEW_PX` a side."""
    shown = Image.fromarray(to_rgb(image))
    shown.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return encode_jpeg(np.asarray(shown), 90)


def describe_classes(
    mask: UInt8[ndarray, "h w"], labels: Labels, only: int | None
) -> list[dict[str, Any]]:
    """Each scored class, or one: its area, bounding box, COCO run lengths and polygons."""
    return [
        _describe_class(mask == index, labels.names[index], index)
        for index in (labels.scored if only is None else [only])
    ]


def _describe_class(inside: Bool[ndarray, "h w"], name: str, index: int) -> dict[str, Any]:
    from pycocotools import mask as coco

    run_lengths = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {
        "class": name,
        "class_index": index,
        "area_px": int(inside.sum()),
        "share": float(inside.mean()),
        "bbox": [int(value) for value in coco.toBbox(run_lengths)],
        "rle": {
            "size": [int(side) for side in run_lengths["size"]],
            "counts": run_lengths["counts"].decode("ascii"),
        },
        "polygons": [ring.tolist() for ring in trace_outlines(inside)],
    }


def describe_objects(
    mask: UInt8[ndarray, "h w"], labels: Labels, only: int | None
) -> list[dict[str, Any]]:
    """Each connected part of the scored classes, or of one, with its measures in px.

    Raises LimnerError where scikit-image is not installed.
    """
    table = measure_mask(mask, labels)
    columns = [
        [None if value != value else value for value in values.tolist()]
        for values in table.values()
    ]
    rows = [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    return [row for row in rows if only is None or row["class"] == labels.names[only]]

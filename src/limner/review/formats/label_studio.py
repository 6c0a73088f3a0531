"""Label Studio: tasks with brush regions, and the labelling interface that they need."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.storage import Storage
from limner.labels import VOID, Labels
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

LENGTH_BITS = (3, 4, 8, 16)
"""The bit widths in which a run's length is written."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `tasks.json`, to be imported, and `interface.xml`.

    Masks that nobody reviewed are predictions there (pre-annotations), with the predicted Dice as
    their score. Returns what the format cannot hold: void.
    """
    tasks, void = [], 0
    for kept in masks:
        tasks.append(_task(kept, predictions))
        void += bool((kept.mask == VOID).any())
    out.write_bytes("tasks.json", json.dumps(tasks).encode())
    out.write_bytes("interface.xml", _interface(predictions.labels).encode())
    return void_lost(void, "Label Studio")


def _task(kept: KeptMask, predictions: Predictions) -> dict[str, Any]:
    labels = predictions.labels
    regions = [
        _region(kept.mask == class_index, labels.names[class_index])
        for class_index in labels.scored
        if (kept.mask == class_index).any()
    ]
    data = {"image": kept.image_name}
    if kept.is_reviewed:
        return {"data": data, "annotations": [{"result": regions}]}
    model = ", ".join(PurePosixPath(path).name for path in predictions.models) or "limner"
    prediction: dict[str, Any] = {"model_version": model, "result": regions}
    if kept.entry.predicted_dice is not None:
        prediction["score"] = kept.entry.predicted_dice
    return {"data": data, "predictions": [prediction]}


def _region(inside: Bool[ndarray, "h w"], name: str) -> dict[str, Any]:
    height, width = inside.shape
    return {
        "from_name": "tag",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(inside), "brushlabels": [name]},
    }


def _interface(labels: Labels) -> str:
    classes = "".join(
        f"<Label value={quoteattr(labels.names[class_index])} "
        f'background="#{bytes(labels.colour(class_index)).hex()}"/>'
        for class_index in labels.scored
    )
    return (
        '<View><Image name="image" value="$image"/><BrushLabels name="tag" '
        f'toName="image">{classes}</BrushLabels></View>\n'
    )


def encode_brush(inside: Bool[ndarray, "h w"]) -> list[int]:
    """Encode a mask as Label Studio's brush: the bytes of an RGBA image, 0 or 255 in all channels,
    as runs in a stream of bits.

    The stream begins with the number of bytes (32 bits), the width of a byte less 1 (5 bits) and
    the four widths of `LENGTH_BITS` less 1 (4 bits each). A run is a bit 1, the index of the width
    (2 bits), the length less 1 in that width, and the byte.
    """
    rgba = np.repeat(inside.ravel(), 4)
    edges = np.flatnonzero(np.diff(rgba)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(rgba)]])
    bits = [f"{len(rgba):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in LENGTH_BITS)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        byte = "11111111" if rgba[start] else "00000000"
        for offset in range(start, end, 1 << LENGTH_BITS[-1]):
            length = min(end - offset, 1 << LENGTH_BITS[-1]) - 1
            index = next(i for i, width in enumerate(LENGTH_BITS) if length < 1 << width)
            bits.append(f"1{index:02b}{length:0{LENGTH_BITS[index]}b}{byte}")
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[offset : offset + 8], 2) for offset in range(0, len(stream), 8)]

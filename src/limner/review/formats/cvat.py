"""CVAT's "Segmentation mask 1.1": colour images of the classes and of their connected parts.

It is imported as a zip file: `--out masks.zip`.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from limner.data.storage import Storage
from limner.data.writers.png import encode_png
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `labelmap.txt`, the images of classes and of objects, and the list of their names.

    Returns what the format cannot hold: void.

    Raises LimnerError for a class name that the table of labels cannot hold.
    """
    labels, void = predictions.labels, 0
    _require_names(labels)
    class_colours = _class_colours(labels)
    object_colours = np.array([_voc_colour(number) for number in range(256)], np.uint8)
    names = list[str]()
    for kept in masks:
        out.write_bytes(f"SegmentationClass/{kept.name}.png", encode_png(class_colours[kept.mask]))
        objects = _objects(kept.mask, labels)
        # Pascal VOC has no more colours, and CVAT imports no others. Without this file each class
        # is one object.
        if objects.max() < len(object_colours):
            out.write_bytes(
                f"SegmentationObject/{kept.name}.png", encode_png(object_colours[objects])
            )
        names.append(kept.name)
        void += bool((kept.mask == VOID).any())
    _write_lines(out, "labelmap.txt", _label_map(labels, class_colours))
    _write_lines(out, "ImageSets/Segmentation/default.txt", names)
    return void_lost(void, "CVAT")


def _require_names(labels: Labels) -> None:
    names = [labels.names[class_index] for class_index in labels.scored]
    if unwritable := [name for name in names if name.startswith("#") or ":" in name]:
        raise LimnerError(
            f"CVAT's table of classes cannot hold the name {unwritable[0]}. Write png or coco "
            "instead, or name the classes in a labels.toml beside the masks, with the values and "
            "the order that they have."
        )


def _class_colours(labels: Labels) -> UInt8[ndarray, "256 3"]:
    """The colour of each class index; black for the background and for void."""
    first = int(labels.names[0] != "background")
    colours = np.array([_voc_colour(class_index + first) for class_index in range(256)], np.uint8)
    colours[VOID] = 0
    return colours


def _objects(mask: UInt8[ndarray, "h w"], labels: Labels) -> Int64[ndarray, "h w"]:
    """Number the connected parts of all classes from 1 on."""
    from scipy import ndimage

    objects, count = np.zeros(mask.shape, np.int64), 0
    for class_index in labels.scored:
        parts, part_count = ndimage.label(mask == class_index)
        objects[parts > 0] = parts[parts > 0] + count
        count += part_count
    return objects


def _label_map(labels: Labels, colours: UInt8[ndarray, "256 3"]) -> list[str]:
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    for class_index in labels.scored:
        colour = ",".join(map(str, colours[class_index].tolist()))
        rows.append(f"{labels.names[class_index]}:{colour}::")
    return rows


def _write_lines(out: Storage, name: str, lines: list[str]) -> None:
    out.write_bytes(name, ("\n".join(lines) + "\n").encode())


def _voc_colour(number: int) -> tuple[int, int, int]:
    """Pascal VOC's colour of a number; 0 is black.

    The bits of the number, by threes, are the highest bits of red, green and blue.
    """
    red, green, blue = (
        sum((number >> 3 * place + channel & 1) << 7 - place for place in range(8))
        for channel in range(3)
    )
    return red, green, blue

"""YOLO segmentation: a text for each image, with a polygon of each connected part in a line."""

import json
from collections.abc import Iterator

from limner.data.shapes.trace import pixel_path, trace_parts
from limner.data.storage import Storage
from limner.labels import VOID
from limner.plurals import count_noun
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

MIN_POINTS = 3


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `labels/x.txt` for each image x, which belongs into `images/`, and `data.yaml`.

    Returns what the format cannot hold: holes and void.
    """
    labels, holes, void = predictions.labels, 0, 0
    for kept in masks:
        height, width = kept.mask.shape
        lines = []
        for number, class_index in enumerate(labels.scored):
            for part in trace_parts(kept.mask == class_index):
                holes += len(part.holes)
                path = pixel_path(part.outline)
                points = [*path, *[path[0]] * max(0, MIN_POINTS - len(path))]
                # Ultralytics drops the fraction of a pixel, and supervision rounds it
                shares = (f"{(x + 0.25) / width:.8f} {(y + 0.25) / height:.8f}" for x, y in points)
                lines.append(f"{number} {' '.join(shares)}\n")
        void += bool((kept.mask == VOID).any())
        out.write_bytes(f"labels/{kept.name}.txt", "".join(lines).encode())
    names = {number: labels.names[index] for number, index in enumerate(labels.scored)}
    listed = "\n".join(f"  {number}: {json.dumps(name)}" for number, name in names.items())
    text = f"path: .\ntrain: images\nval: images\nnames:\n{listed}\n"
    out.write_bytes("data.yaml", text.encode())
    return [*_holes_filled(holes), *void_lost(void, "YOLO")]


def _holes_filled(count: int) -> list[str]:
    return [f"{count_noun(count, 'hole is', 'holes are')} filled: YOLO has none"] if count else []

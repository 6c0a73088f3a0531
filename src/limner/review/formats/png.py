"""PNG masks in the dataset's own pixel values."""

from collections.abc import Iterator

from limner.data.storage import Storage
from limner.data.writers.png import encode_png
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write one PNG for each mask."""
    for kept in masks:
        pixels = predictions.labels.to_source_pixels(kept.mask)
        out.write_bytes(f"{kept.name}.png", encode_png(pixels))

"""GeoTIFF: the classes of each pixel, with the georeference of the image."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from limner.data.readers.georeference import read_georeference
from limner.data.storage import Storage
from limner.data.writers.tiff import write_class_tiff
from limner.labels import VOID
from limner.plurals import count_noun
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

NODATA_TAG = 42113
ASCII = 2
"""The type of the tag's value."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `x.tif` for each image x: class indices, and void as no data (255).

    Returns how many images have no georeference.
    """
    without = 0
    for kept in masks:
        with predictions.image_file(kept.entry) as path:
            place = read_georeference(path)
        without += place is None
        tags = list(place.tags) if place else []
        if (kept.mask == VOID).any():
            tags.append((NODATA_TAG, ASCII, 0, str(VOID), True))
        with TemporaryDirectory() as folder:
            file = Path(folder) / "mask.tif"
            write_class_tiff(file, kept.mask, tags)
            out.upload(f"{kept.name}.tif", file)
    return without_place(without)


def without_place(images: int) -> list[str]:
    """Say how many images have no georeference; nothing for 0."""
    if not images:
        return []
    have = count_noun(images, "image has", "images have")
    return [f"{have} no georeference: the masks of these are in pixels"]

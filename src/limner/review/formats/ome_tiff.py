"""OME-TIFF: the classes of each pixel, with the pixel size and the names of the classes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from limner.data.storage import Storage
from limner.data.writers.tiff import write_ome_tiff
from limner.labels import VOID
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> None:
    """Write `x.ome.tif` for each image x: class indices, and 255 for void.

    Its description lists the classes.
    """
    labels = predictions.labels
    for kept in masks:
        listed = [f"{index} = {name}" for index, name in enumerate(labels.names)]
        if (kept.mask == VOID).any():
            listed.append(f"{VOID} = void")
        with TemporaryDirectory() as folder:
            file = Path(folder) / "mask.ome.tif"
            size = predictions.pixel_size(kept.entry)
            write_ome_tiff(file, kept.mask, size, ", ".join(listed))
            out.upload(f"{kept.name}.ome.tif", file)

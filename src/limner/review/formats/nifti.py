"""NIfTI: a volume of class indices for each image, with the affine of the image."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from limner.data.images import page_count
from limner.data.readers.anatomy import slice_order
from limner.data.readers.pixel_size import UM_PER, PixelSize
from limner.data.readers.volume_affine import read_affine
from limner.data.storage import Storage
from limner.errors import requires_extra
from limner.plurals import count_noun
from limner.review.formats.series_volumes import SeriesVolumes
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `x.nii.gz` for each image file x: class indices, and 255 for void.

    The slices of a DICOM series in one folder become one volume, in the order of their places.

    Returns how many slices have no mask and are background, and how many have a volume of their own
    since their series has no even steps.
    """
    series = SeriesVolumes(predictions)
    missing = 0
    for _, group in groupby(masks, key=lambda kept: kept.entry.image):
        pages = {kept.entry.page: kept for kept in group}
        first = next(iter(pages.values()))
        if series.take(first):
            if volume := series.complete(first.entry.image):
                _save(out, volume.name, volume.voxels(), volume.affine)
            continue
        with predictions.image_file(first.entry) as path:
            count, affine = page_count(path), read_affine(path)
        if affine is None:
            affine = _flat_affine(predictions.pixel_size(first.entry))
        name = first.name if count == 1 else first.name.rpartition("#")[0] or first.name
        missing += count - len(pages)
        planes = {page: kept.mask for page, kept in pages.items()}
        _save(out, name, _join_planes(planes, count, affine), affine)
    for volume in series.rest():
        missing += len(volume.images) - len(volume.masks)
        _save(out, volume.name, volume.voxels(), volume.affine)
    lost = []
    if missing:
        lost.append(f"{count_noun(missing, 'slice has', 'slices have')} no mask and is background")
    if series.uneven:
        lost.append(
            f"{count_noun(series.uneven, 'slice')} of series without even steps have a volume each"
        )
    return lost


def _join_planes(
    planes: dict[int, UInt8[ndarray, "h w"]], count: int, affine: Float[ndarray, "4 4"]
) -> UInt8[ndarray, "a b n"]:
    """Turn the slices of a volume back as they are stored."""
    order = slice_order(affine)
    example = order.to_plane(next(iter(planes.values())))
    voxels = np.zeros((*example.shape, count), np.uint8)
    for page, mask in planes.items():
        voxels[:, :, page] = order.to_plane(mask)
    return voxels


def _save(
    out: Storage, name: str, voxels: UInt8[ndarray, "a b n"], affine: Float[ndarray, "4 4"]
) -> None:
    with requires_extra("--format nifti", "medical"):
        import nibabel

    image: Any = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mask.nii.gz"
        nibabel.save(image, file)
        out.upload(f"{name}.nii.gz", file)


def _flat_affine(size: PixelSize | None) -> Float[ndarray, "4 4"]:
    """The affine of images that have no place in a body, so that they look as they do elsewhere."""
    height, width = 1.0, 1.0
    if size is not None and size.unit in UM_PER:
        factor = UM_PER[size.unit] / UM_PER["mm"]
        height, width = size.height * factor, size.width * factor
    return np.diag([-width, -height, 1.0, 1.0])

"""DICOM series with masks that are volumes, paired slice by slice by their place in the body."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from unicodedata import normalize

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from limner.data.folder_listing import FolderListing
from limner.data.image_file import image_suffix, read_only_header, without_suffix
from limner.data.layout_match import LayoutMatch, pair_key, with_splits
from limner.data.readers import nifti, nrrd
from limner.data.readers.anatomy import slice_order
from limner.data.readers.dicom_place import LPS, SlicePlace, may_be_dicom, read_place
from limner.data.readers.volume_affine import read_affine
from limner.data.sample import Sample
from limner.errors import LimnerError

VOLUMES = nifti.SUFFIXES | nrrd.SUFFIXES
Series = dict[Path, dict[Path, SlicePlace]]
"""Where the files of a folder lie."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """DICOM series: folders of slices, and x.nii.gz or x.nrrd for the folder x, or in its folder"""
    images = listing.images()
    volumes = [path for path in images if image_suffix(path.name) in VOLUMES]
    if not volumes:
        return None
    series = _list_series(path for path in images if path not in volumes)
    found = [(folder, each) for each in volumes if (folder := _find_series(each, series, listing))]
    volume_of = dict(found)
    # Two volumes of one series are an image and its mask, made of the series
    if not found or len(volume_of) < len(found):
        return None
    samples = []
    for folder, volume in volume_of.items():
        name = normalize("NFC", folder.relative_to(listing.root).as_posix())
        # A folder of the names of splits above it tells the split
        names = folder.relative_to(listing.root).parts[:-1]
        samples += [(sample, names) for sample in _pair_slices(name, series[folder], volume)]
    without_mask = [file for folder in series.keys() - volume_of.keys() for file in series[folder]]
    return LayoutMatch(
        "DICOM series",
        with_splits(samples),
        images_without_mask=tuple(sorted(without_mask)),
        masks_without_image=tuple(sorted(set(volumes) - set(volume_of.values()))),
    )


def _list_series(files: Iterable[Path]) -> Series:
    """The slices of each folder that holds one series of several."""
    found: Series = defaultdict(dict)
    for file in files:
        if may_be_dicom(file) and (place := read_place(file)):
            found[file.parent][file] = place
    return {
        folder: places
        for folder, places in found.items()
        if len(places) > 1 and len({place.series for place in places.values()}) == 1
    }


def _find_series(volume: Path, series: Series, listing: FolderListing) -> Path | None:
    """The folder of the series that a mask is of: by its name, else the only one beside it."""
    name = pair_key(without_suffix(volume.name))
    named = [folder for folder in series if name in folder.relative_to(listing.root).parts]
    if not named and volume.parent != listing.root:
        named = [folder for folder in series if folder.is_relative_to(volume.parent)]
    return named[0] if len(named) == 1 else None


def _pair_slices(name: str, slices: Mapping[Path, SlicePlace], volume: Path) -> list[Sample]:
    """Pair the files of a series with the slices of a volume, in the order of the volume.

    Raises LimnerError where a file lies where the volume has no slice.
    """
    affine = read_affine(volume)
    if affine is None:
        raise LimnerError(f"{volume} does not say where its slices lie. Save it as NIfTI again.")
    corners = _corners(affine, volume)
    pages: dict[int, Path] = {}
    for file, each in slices.items():
        away = np.linalg.norm(corners - each.corner, axis=1)
        page = int(away.argmin())
        if away[page] > each.spacing or page in pages:
            place = ", ".join(f"{value:g}" for value in each.corner)
            raise LimnerError(
                f"{file} lies at ({place}) mm, where {volume} has no slice of its own: the "
                f"nearest begins {away[page]:.3g} mm away. Is it the mask of another series? It "
                "must have the places and the directions of its series."
            )
        pages[page] = file
    return [
        Sample(f"{name}#{page + 1}", pages[page], volume, group=name, mask_page=page)
        for page in sorted(pages)
    ]


def _corners(affine: Float[ndarray, "4 4"], volume: Path) -> Float[ndarray, "n 3"]:
    """Where the first pixel of each slice lies as it is shown, as DICOM counts."""
    header, order = read_only_header(volume), slice_order(affine)
    height, width = header.size_px
    row = height - 1 if order.flips_rows else 0
    column = width - 1 if order.flips_columns else 0
    first, second = (column, row) if order.swaps else (row, column)
    indices = np.array([[first, second, page, 1] for page in range(header.pages)], np.float64)
    return (indices @ affine.T)[:, :3] * LPS

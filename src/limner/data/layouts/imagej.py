"""ImageJ's and Fiji's regions of interest: x.roi or x.zip for each image, or RoiSet.zip."""

import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import roifile

from limner.data.annotated_images import (
    AnnotatedSet,
    ImageObjects,
    images_by_name,
    read_each,
)
from limner.data.annotation_tools import IMAGEJ, require_one_tool
from limner.data.class_names import read_class_names
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.shapes.outlines import ellipse_polygon
from limner.errors import LimnerError

SUFFIXES = frozenset({".roi", ".zip"})
AREAS = frozenset(
    {
        roifile.ROI_TYPE.POLYGON,
        roifile.ROI_TYPE.RECT,
        roifile.ROI_TYPE.OVAL,
        roifile.ROI_TYPE.FREEHAND,
        roifile.ROI_TYPE.TRACED,
    }
)
"""Kinds of regions that cover an area."""
ONLY_CLASS = "object"
"""The class of regions that are in no group."""
_ROI_SET = re.compile(r"[_ -]?(roiset|rois?)[_ -]?", re.IGNORECASE)
"""What names of region files hold beside the image's name."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """ImageJ: x.tif with x.roi, x.zip or x_RoiSet.zip (polygons, freehand, ovals, composites)"""
    paths = [path for path in listing.files(SUFFIXES) if _holds_regions(path)]
    if not paths:
        return None
    _require_whole(listing)
    require_one_tool(listing, IMAGEJ, paths)
    named = images_by_name(listing)
    images, findings = read_each(IMAGEJ, listing, paths, lambda path: _read_objects(path, named))
    return AnnotatedSet(
        tool=IMAGEJ,
        files=paths,
        images=images,
        stated=[name for _, name in read_class_names(listing.root)],
        findings=findings,
    ).to_match(listing)


def _read_objects(path: Path, images: Mapping[str, Sequence[Path]]) -> ImageObjects:
    regions = _read(path)
    objects = [
        (_class_name(region), _outlines(region)) for region in regions if region.roitype in AREAS
    ]
    without_area = [
        region.roitype.name.lower() for region in regions if region.roitype not in AREAS
    ]
    return ImageObjects(_find_image(path, images), None, objects, without_area)


def _class_name(region: roifile.ImagejRoi) -> str:
    """The class in a region's properties, where limner writes it, else its group."""
    if name := region.properties.get("class"):
        return str(name)
    return f"group {region.group}" if region.group else ONLY_CLASS


def _holds_regions(path: Path) -> bool:
    """Whether a file is a region, or a zip that holds regions alone."""
    if path.suffix.lower() == ".roi":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.lower().endswith(".roi") for name in names)


def _require_whole(listing: FolderListing) -> None:
    """Raise LimnerError for a zip that breaks off, whose regions would be lost."""
    for path in listing.files({".zip"}):
        if not zipfile.is_zipfile(path):
            raise LimnerError(
                f"{path} is no whole zip. Regions in it would be lost: export it again, or remove "
                "it if it holds none."
            )


def _read(path: Path) -> list[roifile.ImagejRoi]:
    """The regions of a file. Raises LimnerError for a damaged one, and for several slices."""
    try:
        read = roifile.roiread(path)
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, IndexError) as error:
        raise LimnerError(f"{path} cannot be read ({error}). Save the regions again.") from error
    regions = list(read) if isinstance(read, list) else [read]
    slices = {max(region.position, region.z_position, region.t_position) for region in regions}
    if max(slices, default=0) > 1:
        raise LimnerError(
            f"{path} holds regions of several slices of a stack, such as slice {max(slices)}. "
            "Save each slice as an image of its own, with its regions."
        )
    return regions


def _outlines(region: roifile.ImagejRoi) -> list[list[list[float]]]:
    if region.roitype == roifile.ROI_TYPE.OVAL and region.subpixel_coordinates is None:
        centre = (region.left + region.right) / 2, (region.top + region.bottom) / 2
        radii = (region.right - region.left) / 2, (region.bottom - region.top) / 2
        points = ellipse_polygon(centre, radii)
        return [[[x, y] for x, y in zip(points[::2], points[1::2], strict=True)]]
    return [points.astype(float).tolist() for points in region.coordinates(multi=True)]


def _find_image(path: Path, images: Mapping[str, Sequence[Path]]) -> Path:
    """The image whose name a file bears, or the only one of its folder.

    Raises LimnerError where that is none, or several.
    """
    named = images.get(_ROI_SET.sub("", path.stem) or "/", ())
    candidates = named or [image for found in images.values() for image in found]
    here = [image for image in candidates if image.parent == path.parent]
    found = here or named
    if len(found) != 1:
        raise LimnerError(
            f"{path} holds regions, and {len(found)} images may be theirs. Give it the name of its "
            "image, such as x.zip for x.tif, and put it beside the image."
        )
    return found[0]

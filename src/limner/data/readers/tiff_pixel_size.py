"""How large a pixel of a TIFF is: by OME, ImageJ, microscopes, slide scanners and maps."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from limner.data.readers.pixel_size import DEGREE, PixelSize, to_pixel_size

MM_PER_RESOLUTION_UNIT = {2: 25.4, 3: 10.0}
"""In the tag ResolutionUnit (TIFF 6.0): inch and centimetre."""
MOST_PRINT_MM = 0.0254
"""A resolution of 1,000 pixels an inch or less is one for printing, such as 72, 300 and 600, and
says nothing of the size of what is shown.
"""
FOOT_M = {9002: 0.3048, 9003: 1200 / 3937}
"""Feet among the linear units of EPSG."""
_MPP = re.compile(r"\|\s*MPP\s*=\s*([\d.]+)")
PROJECTED, GEOGRAPHIC = 1, 2
"""In the key GTModelTypeGeoKey (GeoTIFF 1.1)."""


def tiff_pixel_size(page: Any) -> PixelSize | None:
    """Find the pixel size of a page, by whatever in the file states it most exactly.

    Args:
        page: Of tifffile.

    Returns:
        None where the file states none, and where it states one for printing alone.
    """
    tiff = page.parent
    for is_kind, read in _READERS:
        if getattr(tiff, is_kind, False) or getattr(page, is_kind, False):
            size = read(page)
            return size if size or is_kind != "is_imagej" else None
    return _by_resolution(page, most_mm=MOST_PRINT_MM)


def _by_ome(page: Any) -> PixelSize | None:
    try:
        root = ElementTree.fromstring(str(page.parent.pages[0].description))
    except ElementTree.ParseError:
        return None
    pixels = next((each for each in root.iter() if str(each.tag).endswith("}Pixels")), None)
    if pixels is None:
        return None
    unit = pixels.get("PhysicalSizeYUnit", "µm")
    if pixels.get("PhysicalSizeXUnit", "µm") != unit:
        return None
    return to_pixel_size(pixels.get("PhysicalSizeY"), pixels.get("PhysicalSizeX"), unit)


def _by_imagej(page: Any) -> PixelSize | None:
    """ImageJ states pixels in a unit that its description names, in the tags of resolution."""
    unit = str((page.parent.imagej_metadata or {}).get("unit", ""))
    height, width = (_ratio(page, f"{axis}Resolution") for axis in "YX")
    if unit == "inch" and min(height, width) >= MOST_PRINT_MM / MM_PER_RESOLUTION_UNIT[2]:
        return None
    return to_pixel_size(height, width, unit)


def _by_fei(page: Any) -> PixelSize | None:
    """FEI and Thermo Fisher's electron microscopes, in metres."""
    scan = (page.parent.fei_metadata or {}).get("Scan", {})
    return _shortened(scan.get("PixelHeight"), scan.get("PixelWidth"))


def _by_zeiss_sem(page: Any) -> PixelSize | None:
    """Zeiss's electron microscopes, with a unit of their own."""
    stated = (page.parent.sem_metadata or {}).get("ap_image_pixel_size")
    return to_pixel_size(stated[1], stated[1], str(stated[2])) if stated else None


def _by_lsm(page: Any) -> PixelSize | None:
    """Zeiss's LSM, in metres."""
    metadata = page.parent.lsm_metadata or {}
    return _shortened(metadata.get("VoxelSizeY"), metadata.get("VoxelSizeX"))


def _by_svs(page: Any) -> PixelSize | None:
    """Aperio's slides: MPP is micrometres per pixel."""
    stated = _MPP.search(str(page.parent.pages[0].description))
    return to_pixel_size(stated[1], stated[1], "µm") if stated else None


def _by_resolution_tags(page: Any) -> PixelSize | None:
    return _by_resolution(page)


def _by_map(page: Any) -> PixelSize | None:
    """Maps: GeoTIFF's scale, in metres, feet or degrees."""
    tags: Mapping[str, Any] = page.geotiff_tags or {}
    scale, matrix = tags.get("ModelPixelScale"), tags.get("ModelTransformation")
    if scale is not None:
        width, height = float(scale[0]), float(scale[1])
    elif matrix is not None:
        # The lengths of a step along a row and along a column
        rows = [[float(value) for value in row] for row in matrix]
        width, height = (math.hypot(rows[0][axis], rows[1][axis]) for axis in (0, 1))
    else:
        return _by_resolution(page, most_mm=MOST_PRINT_MM)
    if (kind := int(tags.get("GTModelTypeGeoKey", 0))) == GEOGRAPHIC:
        return to_pixel_size(height, width, DEGREE)
    if kind != PROJECTED:
        return None
    metres = FOOT_M.get(int(tags.get("ProjLinearUnitsGeoKey", 0)), 1.0)
    return to_pixel_size(height * metres, width * metres, "m")


_READERS: tuple[tuple[str, Callable[[Any], PixelSize | None]], ...] = (
    ("is_ome", _by_ome),
    ("is_imagej", _by_imagej),
    ("is_lsm", _by_lsm),
    ("is_fei", _by_fei),
    ("is_sem", _by_zeiss_sem),
    ("is_svs", _by_svs),
    ("is_ndpi", _by_resolution_tags),
    ("is_geotiff", _by_map),
)
"""By the properties by which tifffile knows who wrote a file; the first that holds counts."""


def _by_resolution(page: Any, *, most_mm: float = math.inf) -> PixelSize | None:
    """Read the baseline tags, where they state pixels smaller than a limit."""
    mm = MM_PER_RESOLUTION_UNIT.get(int(page.tags.valueof("ResolutionUnit", 2)))
    height, width = (_ratio(page, f"{axis}Resolution") for axis in "YX")
    if mm is None or min(height, width) * mm >= most_mm:
        return None
    return to_pixel_size(height * mm * 1e3, width * mm * 1e3, "µm")


def _ratio(page: Any, tag: str) -> float:
    """How many units a pixel has, of a tag that says how many pixels a unit has; 0 without it."""
    pixels, units = page.tags.valueof(tag, (0, 1))
    return float(units) / float(pixels) if pixels else 0.0


def _shortened(height: object, width: object) -> PixelSize | None:
    """Give metres of a microscope in µm, or in nm where they are tiny."""
    size = to_pixel_size(height, width, "m")
    micro = size.in_unit("µm") if size else None
    return micro.in_unit("nm") if micro and micro.width < 0.01 else micro

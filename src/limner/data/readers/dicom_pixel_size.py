"""How large a pixel of a DICOM image is, in mm."""

from collections.abc import Iterator
from typing import Any

from limner.data.readers.pixel_size import PixelSize, to_pixel_size

KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Of what is shown; of a detector, which shows things larger than they are; of a scanned film.
Each is the distance of rows, then of columns (PS3.3 10.7.1.3).
"""


def dicom_pixel_size(attributes: Any) -> PixelSize | None:
    """Find the pixel size in a dataset of pydicom; None where it states none."""
    for holder in _holders(attributes):
        for keyword in KEYWORDS:
            spacing = holder.get(keyword)
            if spacing and len(spacing) == 2:
                return to_pixel_size(spacing[0], spacing[1], "mm")
    return None


def _holders(attributes: Any) -> Iterator[Any]:
    """What may hold the spacing: the file, or the groups of enhanced ones (C.7.6.16.2.1)."""
    yield attributes
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (attributes.get(name) or [])[:1]:
            yield from (group.get("PixelMeasuresSequence") or [])[:1]

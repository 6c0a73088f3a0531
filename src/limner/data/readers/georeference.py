"""Where on the earth the pixels of a GeoTIFF lie (OGC GeoTIFF 1.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from limner.data.readers.tiff_images import quiet_tifffile

SCALE, TIEPOINT, MATRIX, KEYS = 33550, 33922, 34264, 34735
TAGS = (SCALE, TIEPOINT, MATRIX, KEYS, 34736, 34737)
"""All tags that say where an image lies; the last two hold numbers and texts of the keys."""
RASTER_TYPE, GEOGRAPHIC_CODE, PROJECTED_CODE = 1025, 2048, 3072
PIXEL_IS_POINT = 2
"""Of the key for the raster's type: places are those of the middle of a pixel."""
USER_DEFINED = 32767

ExtraTag = tuple[int, int, int, Any, bool]
"""A tag as tifffile writes it: its code, its type, how many values, the values, once in a file."""


@dataclass(frozen=True, slots=True)
class Georeference:
    """The place of an image in a coordinate system."""

    tags: Sequence[ExtraTag]
    """As the file has them."""
    affine: Float[ndarray, "2 3"]
    """From (x, y) in pixels, the upper left corner of the image being (0, 0), to coordinates."""
    epsg: int | None
    """The code of the coordinate system; None where it has none."""

    def to_coordinates(self, points: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
        """Turn corners of pixels into coordinates."""
        turned: Float[ndarray, "n 2"] = points @ self.affine[:, :2].T + self.affine[:, 2]
        return turned


def read_georeference(path: Path) -> Georeference | None:
    """Read where an image lies; None for a file that is no GeoTIFF or states no place."""
    try:
        with quiet_tifffile().TiffFile(path) as file:
            found = {tag: file.pages[0].tags.get(tag) for tag in TAGS}
            tags = {
                code: (code, int(tag.dtype), int(tag.count), tag.value, True)
                for code, tag in found.items()
                if tag is not None
            }
    except Exception:  # noqa: BLE001
        # Another format, or a file that `read_image` names
        return None
    keys = _parse_keys(tags[KEYS][3]) if KEYS in tags else {}
    affine = _read_affine({code: tag[3] for code, tag in tags.items()}, keys)
    if affine is None:
        return None
    codes = [keys[key] for key in (PROJECTED_CODE, GEOGRAPHIC_CODE) if key in keys]
    epsg = next((code for code in codes if 0 < code < USER_DEFINED), None)
    return Georeference(tuple(tags.values()), affine, epsg)


def _parse_keys(directory: Sequence[int]) -> dict[int, int]:
    """The keys whose value is a number in the directory itself."""
    rows = [directory[start : start + 4] for start in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, place, _, value in rows if place == 0}


def _read_affine(tags: dict[int, Any], keys: dict[int, int]) -> Float[ndarray, "2 3"] | None:
    if MATRIX in tags:
        matrix = np.asarray(tags[MATRIX], float).reshape(4, 4)
        affine = np.column_stack([matrix[:2, :2], matrix[:2, 3]])
    elif SCALE in tags and TIEPOINT in tags:
        width, height = (float(side) for side in tags[SCALE][:2])
        column, row, _, x, y, _ = (float(value) for value in tags[TIEPOINT][:6])
        # Rows run to the south
        affine = np.array([[width, 0, x - column * width], [0, -height, y + row * height]])
    else:
        return None
    if keys.get(RASTER_TYPE) == PIXEL_IS_POINT:
        affine[:, 2] -= affine[:, :2].sum(axis=1) / 2
    return affine

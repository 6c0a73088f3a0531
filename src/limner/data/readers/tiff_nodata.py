"""Which pixels of a TIFF hold a measurement: nodata, NaN, and masks inside the file."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from numpy import ndarray

from limner.data.readers.decoded import Pixels
from limner.data.readers.tiff_images import Plane, TiffImage
from limner.data.readers.tiff_pixels import photometric, read_plane

NODATA_TAG = 42113
"""GDAL's, a number as text."""
NAN_TEXTS = ("NAN", "#IND", "#QNAN", "#SNAN")
"""How NaN is spelled, the latter by Windows."""


def valid_pixels(image: TiffImage, planes: Sequence[Pixels]) -> Bool[ndarray, "h w *c"] | None:
    """Find the values of an image that are measurements; None where all of them are.

    Nodata and NaN are none, nor is what a transparency page leaves out. A pixel in RGB
    lacks data only where all of its colours are nodata, since each alone may be a colour.

    Args:
        image: Of whose file.
        planes: The stored numbers of each of its planes.
    """
    nodata = read_nodata(image.page)
    may_lack_data = nodata is not None or any(pixels.dtype.kind == "f" for pixels in planes)
    if not may_lack_data and image.transparency is None:
        return None
    valid = [
        valid_numbers(plane.page, pixels, nodata)
        for plane, pixels in zip(image.planes, planes, strict=True)
    ]
    joined = valid[0] if len(valid) == 1 else np.dstack(valid)
    if image.transparency is not None:
        shown = read_plane(Plane(image.transparency)).reshape(joined.shape[:2]) != 0
        joined &= shown.reshape(shown.shape + (1,) * (joined.ndim - 2))
    if joined.all():
        return None
    # An image of NaN alone that does not call it nodata is damaged
    is_explained = nodata is not None or image.transparency is not None
    return joined if is_explained or joined.any() else None


def read_nodata(page: Any) -> float | int | None:
    """Read the value by which GDAL marks pixels without data; None where it states none.

    It is the number that the page's type has for it. None also stands for one that it cannot have.
    """
    text = str(page.tags.valueof(NODATA_TAG, "")).strip().strip("\0").strip()
    if any(spelling in text.upper() for spelling in NAN_TEXTS):
        return math.nan if page.dtype is not None and page.dtype.kind == "f" else None
    try:
        return _as_type(text, page.dtype)
    except ValueError:
        return None


def _as_type(text: str, dtype: np.dtype[Any]) -> float | int | None:
    """Turn a text into a number of a type. Raises ValueError where it is not a number."""
    if dtype.kind == "f":
        value, limits = float(text), np.finfo(dtype)
        if math.isfinite(value):
            # ESRI writes the largest float32 with a digit too many
            value = min(max(value, float(limits.min)), float(limits.max))
        return float(dtype.type(value))
    if dtype.kind not in "ui":
        return None
    try:
        number = int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            return None
        number = int(value)
    limit = np.iinfo(dtype)
    return number if limit.min <= number <= limit.max else None


def valid_numbers(page: Any, pixels: Pixels, nodata: float | int | None) -> Bool[ndarray, "h w *c"]:
    """Find the numbers of a part of a page that are neither nodata nor NaN."""
    valid: Bool[ndarray, "h w *c"] = np.ones(pixels.shape, np.bool_)
    if nodata is not None and not math.isnan(nodata):
        valid = pixels != nodata
        if photometric(page) in {"RGB", "YCBCR"}:
            valid = _whole_pixels(valid)
    if pixels.dtype.kind == "f":
        valid = valid & ~np.isnan(pixels)
    return valid


def _whole_pixels(valid: Shaped[ndarray, "h w c"]) -> Bool[ndarray, "h w c"]:
    """Call all values of a pixel valid where one of its colours is."""
    return np.broadcast_to(valid[..., :3].any(axis=2, keepdims=True), valid.shape).copy()

"""The pixels of a TIFF's planes: read as they are stored, and turned into grey or RGB."""

import math
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.readers.decoded import Pixels, UnsupportedImageError, WhiteIsZero
from limner.data.readers.lerc import holds_nan, read_lerc
from limner.data.readers.tiff_images import Plane

GREY_KINDS = frozenset({"MINISBLACK", "MINISWHITE", "MASK"})
READ_KINDS = GREY_KINDS | {"RGB", "YCBCR", "PALETTE", "SEPARATED"}
JPEG_CODECS = frozenset({"JPEG", "OJPEG"})
"""They give RGB by themselves."""


def photometric(page: Any) -> str:
    """Name the kind of a page's colours, as tifffile does."""
    return str(getattr(page.photometric, "name", page.photometric))


def read_plane(plane: Plane) -> Pixels:
    """Read the numbers of a plane, with its samples last.

    Raises:
        UnsupportedImageError: Its colours are of a kind that is not read.
        ValueError: The file ends before its pixels do.
    """
    page = plane.page
    if photometric(page) not in READ_KINDS:
        raise UnsupportedImageError(
            f"has colours of the kind {photometric(page)}. Grey, RGB, palette and CMYK are read: "
            "export it as RGB."
        )
    if plane.offset is not None:
        stored = _read_raw(page, plane.offset)
    else:
        check_segments(page)
        stored = read_lerc(page) if holds_nan(page) else page.asarray()
    # Apart, depth, height, width, together: samples are on the first axis or the last
    apart, _, height, width, together = page.shaped
    planes = stored.reshape(apart, -1, height, width, together)[:, plane.slice]
    pixels = np.moveaxis(planes, 0, -1).reshape(height, width, -1)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def to_colours(page: Any, pixels: Pixels, *, as_stored: bool) -> Shaped[ndarray, "h w *c2"]:
    """Turn stored numbers into grey where more is lighter, RGB, or indices of a palette.

    With `as_stored` grey levels keep their numbers, inverted where the file stores white as 0.
    """
    kind = photometric(page)
    if kind == "YCBCR" and page.compression.name not in JPEG_CODECS:
        return np.asarray(Image.fromarray(pixels, mode="YCbCr").convert("RGB"))
    if kind == "SEPARATED":
        return np.asarray(Image.fromarray(_check_cmyk(pixels), mode="CMYK").convert("RGB"))
    if kind == "PALETTE" and pixels.dtype == np.bool_:
        return pixels.astype(np.uint8)
    if kind in GREY_KINDS and not as_stored:
        return _lighter_is_more(page, pixels)
    if as_stored and white_is_zero(page, pixels) == "inverted":
        return _invert(page, pixels)
    return pixels


def white_is_zero(page: Any, pixels: Pixels) -> WhiteIsZero | None:
    """Tell whether the values of a mask are inverted, so that they are as a viewer shows them.

    tifffile marks every array of True and False as white-is-zero, and does not invert it: there
    True is meant, though viewers show it black. Signed numbers and fractions are not shades of
    grey.
    """
    if photometric(page) != "MINISWHITE" or pixels.dtype.kind not in "bu":
        return None
    is_array = pixels.dtype == np.bool_ and page.software == "tifffile.py" and page.description
    return "kept" if is_array else "inverted"


def palette(page: Any) -> UInt8[ndarray, "n 3"] | None:
    """Return the colour of each index, where a page's numbers are indices."""
    if photometric(page) != "PALETTE":
        return None
    entries = np.asarray(page.colormap).T
    # Some writers fill the 16 bits of an entry with 8 bits; libtiff tells them by this too
    return (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8)


def check_segments(page: Any) -> None:
    """Raise ValueError where a strip or tile lies beyond the end of the file.

    tifffile fills what is missing with zeros. A segment without a place and a length is not
    missing: GDAL leaves out those that hold one value alone.
    """
    file_bytes = page.parent.filehandle.size
    segments = len(page.dataoffsets)
    if segments < math.prod(page.chunked) and not (segments == 1 and page.is_contiguous):
        raise ValueError("the file ends before its pixels do")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if (count == 0) != (offset == 0) or offset + count > file_bytes:
            raise ValueError("the file ends before its pixels do")


def _read_raw(page: Any, offset: int) -> ndarray:
    file = page.parent.filehandle
    file.seek(offset)
    content = file.read(page.nbytes)
    if len(content) < page.nbytes:
        raise ValueError("the file ends before its pixels do")
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    return np.frombuffer(content, dtype).astype(page.dtype)


def _lighter_is_more(page: Any, pixels: Pixels) -> Pixels:
    """Invert dark on light, and spread fewer than 8 bits over 8."""
    if photometric(page) == "MINISWHITE":
        pixels = _invert(page, pixels)
    most = _most_value(page)
    if pixels.dtype == np.uint8 and page.bitspersample < 8:
        return np.rint(pixels * (255 / most)).astype(np.uint8)
    return pixels


def _invert(page: Any, pixels: Pixels) -> Pixels:
    """Exchange the lowest and the highest value, and what lies between."""
    if pixels.dtype == np.bool_ or pixels.dtype.kind == "i":
        return ~pixels
    if pixels.dtype.kind == "u":
        return np.array(_most_value(page), pixels.dtype) - pixels
    return -pixels


def _most_value(page: Any) -> int:
    return int((1 << page.bitspersample) - 1)


def _check_cmyk(pixels: Pixels) -> UInt8[ndarray, "h w 4"]:
    """Return the four inks of each pixel. Raises UnsupportedImageError for another depth."""
    inks = pixels[..., :4]
    if inks.dtype != np.uint8 or inks.shape[-1] != 4:
        raise UnsupportedImageError(
            f"is CMYK of type {inks.dtype}. CMYK is read with 8 bits and four channels: export it "
            "as RGB."
        )
    return np.ascontiguousarray(inks)

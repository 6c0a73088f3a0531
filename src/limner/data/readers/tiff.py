"""Read TIFF with tifffile: stacks, the channels of microscopes, and depths of all kinds."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
    WhiteIsZero,
)
from limner.data.readers.exif import ORIENTATION_TAG, valid_orientation

NAME = "TIFF"
SUFFIXES = frozenset({".tif", ".tiff"})
HOLDS_PAGES = True
USUAL_TILE_PX = 4096
"""Up to this side, tiles may be larger than their image."""
REDUCED_COPY_FLAG = 1
"""In the tag NewSubfileType (TIFF 6.0)."""
ALPHA_KINDS = frozenset({1, 2})
"""In the tag ExtraSamples (TIFF 6.0): associated and unassociated alpha."""


class _Stream:
    """A file without its name, by which tifffile would open other files of an OME series."""

    def __init__(self, file: BinaryFile) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.readinto: Any = file.readinto  # type: ignore[attr-defined]


def recognises(start: bytes) -> bool:
    return start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def read_header(file: BinaryFile) -> ImageHeader:
    with _open(file) as tiff:
        pages = _full_size_pages(tiff)
        for page in pages:
            _check_tiles(page)
        first, planes = pages[0], _planes_per_image(tiff, len(pages))
        return ImageHeader(
            first.imagelength,
            first.imagewidth,
            page_orientation(first),
            len(pages) // planes,
            first.samplesperpixel * max(1, first.bitspersample // 8) * planes,
        )


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    with _open(file) as tiff:
        pages = _full_size_pages(tiff)
        planes = _planes_per_image(tiff, len(pages))
        image_pages = pages[options.page * planes : (options.page + 1) * planes]
        decoded = [_decode_page(page, as_stored=options.as_stored) for page in image_pages]
        first = image_pages[0]
        pixels = decoded[0] if planes == 1 else np.stack(decoded, axis=2)
        palette = None
        if first.photometric.name == "PALETTE":
            palette = (np.asarray(first.colormap).T >> 8).astype(np.uint8)
        return DecodedImage(
            pixels,
            page_orientation(first),
            palette,
            has_alpha=_has_alpha(first, pixels),
            separate_channels=planes > 1,
            white_is_zero=_white_is_zero(first, pixels) if options.as_stored else None,
        )


def page_orientation(page: Any) -> int:
    """Return the orientation of a page as EXIF counts."""
    return valid_orientation(page.tags.valueof(ORIENTATION_TAG, 1))


def is_opaque(channel: Shaped[ndarray, "*_"]) -> bool:
    """Tell whether a channel of unknown meaning is the alpha of an opaque image."""
    return (
        bool((channel == channel.flat[0]).all())
        and channel.dtype.kind == "u"
        and int(channel.flat[0]) == np.iinfo(channel.dtype).max
    )


@contextmanager
def _open(file: BinaryFile) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(_Stream(file)) as tiff:  # type: ignore[arg-type]
        yield tiff


def _full_size_pages(tiff: Any) -> list[Any]:
    """List the pages of a file without their reduced copies.

    Raises:
        UnsupportedImageError: They differ in size, or one holds a volume.
        ValueError: One has no pixels.
    """
    pages = [
        page for page in _pages_with_pixels(tiff.pages) if not page.subfiletype & REDUCED_COPY_FLAG
    ] or [tiff.pages.first]
    sizes = {(page.imagelength, page.imagewidth) for page in pages}
    if len(sizes) > 1:
        raise UnsupportedImageError(
            f"holds images of {len(sizes)} sizes. A stack has images of one size: export them one "
            "by one."
        )
    if len(pages) == 1 and math.prod(tiff.series[0].shape) > math.prod(pages[0].shape):
        raise UnsupportedImageError(
            f"holds {tiff.series[0].shape} values in a single image. Export a stack of one image "
            "for each slice."
        )
    return pages


def _pages_with_pixels(pages: Any) -> Iterator[Any]:
    """Iterate pages up to the first without pixels, and raise ValueError there.

    In a damaged file such pages may lead from one to the next for hours.
    """
    for page in pages:
        if not page.dataoffsets:
            raise ValueError("one of its images has no pixels")
        yield page


def _planes_per_image(tiff: Any, page_count: int) -> int:
    """Count the pages that are the channels of one image, as ImageJ and OME write a microscope's.

    It is 1 where the file says nothing of the kind.
    """
    series = tiff.series[0]
    are_channels = series.axes.endswith("CYX") and math.prod(series.shape[:-2]) == page_count
    return int(series.shape[-3]) if are_channels else 1


def _check_tiles(page: Any) -> None:
    if page.is_tiled and max(page.tilelength, page.tilewidth) > max(
        USUAL_TILE_PX, page.imagelength, page.imagewidth
    ):
        raise ValueError(
            f"its tiles have {page.tilewidth}x{page.tilelength} pixels, more than all of it"
        )


def _has_alpha(page: Any, pixels: Pixels) -> bool:
    extra = [int(kind) for kind in page.extrasamples]
    if not extra or page.photometric.name == "SEPARATED":
        return False
    return extra[-1] in ALPHA_KINDS or is_opaque(pixels[..., -1])


def _decode_page(page: Any, *, as_stored: bool) -> Pixels:
    _check_segments(page)
    photometric = page.photometric.name
    pixels: ndarray = page.asarray()
    if photometric == "YCBCR" and page.compression.name not in {"JPEG", "OJPEG"}:
        pixels = np.asarray(Image.fromarray(pixels, mode="YCbCr").convert("RGB"))
    if page.planarconfig == 2 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    is_kept = as_stored and _white_is_zero(page, pixels) != "turned"
    if photometric == "MINISWHITE" and not is_kept:
        pixels = ~pixels if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max - pixels
    if photometric == "SEPARATED":
        return np.asarray(Image.fromarray(_check_cmyk(pixels), mode="CMYK").convert("RGB"))
    if photometric not in {"MINISBLACK", "MINISWHITE", "RGB", "YCBCR", "PALETTE"}:
        raise UnsupportedImageError(
            f"has colours of the kind {photometric}. Grey, RGB, palette and CMYK are read: export "
            "it as RGB."
        )
    return pixels


def _white_is_zero(page: Any, pixels: Pixels) -> WhiteIsZero | None:
    """Tell whether the values of a mask are turned, so that they are as a viewer shows them.

    tifffile marks every array of True and False as white-is-zero, and does not turn it: there True
    is meant, though viewers show it black. Signed numbers and fractions are no shades of grey.
    """
    if page.photometric.name != "MINISWHITE" or pixels.dtype.kind not in "bu":
        return None
    is_array = pixels.dtype == np.bool_ and page.software == "tifffile.py" and page.description
    return "kept" if is_array else "turned"


def _check_segments(page: Any) -> None:
    """Raise ValueError where a strip or tile lies beyond the end of the file.

    tifffile fills what is missing with zeros.
    """
    file_bytes = page.parent.filehandle.size
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count == 0 or offset + count > file_bytes:
            raise ValueError("the file ends before its pixels do")


def _check_cmyk(pixels: Pixels) -> UInt8[ndarray, "h w 4"]:
    """Return the four inks of each pixel. Raises UnsupportedImageError for another depth."""
    inks = pixels[..., :4]
    if inks.dtype != np.uint8 or inks.shape[-1] != 4:
        raise UnsupportedImageError(
            f"is CMYK of type {inks.dtype}. CMYK is read with 8 bits and four channels: export it "
            "as RGB."
        )
    return inks

"""Read TIFF with tifffile: stacks, the channels of microscopes, and depths of all kinds."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from numpy import ndarray

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    StoredKind,
)
from limner.data.readers.exif import ORIENTATION_TAG, valid_orientation
from limner.data.readers.extra_band import ALPHA_KINDS, drops_last_band, judge_extra_band
from limner.data.readers.tiff_codecs import lossy_codec
from limner.data.readers.tiff_images import TiffImage, open_images
from limner.data.readers.tiff_nodata import valid_pixels
from limner.data.readers.tiff_pixel_size import tiff_pixel_size
from limner.data.readers.tiff_pixels import (
    GREY_KINDS,
    palette,
    photometric,
    read_plane,
    to_colours,
    white_is_zero,
)

NAME = "TIFF"
SUFFIXES = frozenset({".tif", ".tiff"})
OME_ENDING = ".ome"
"""Before the suffix: with it, it is the suffix of an OME-TIFF."""
HOLDS_PAGES = True


def recognises(start: bytes) -> bool:
    return start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def read_header(file: BinaryFile) -> ImageHeader:
    with open_images(file) as content:
        images = content.images
        page, planes = images[0].page, len(images[0].planes)
        return ImageHeader(
            page.imagelength,
            page.imagewidth,
            page_orientation(page),
            len(images),
            page.samplesperpixel * max(1, page.bitspersample // 8) * planes,
            tiff_pixel_size(page),
        )


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    with open_images(file) as content:
        return replace(
            _decode_image(content.images[options.page], options), left_out=content.left_out
        )


def page_orientation(page: Any) -> int:
    """Return the orientation of a page as EXIF counts."""
    return valid_orientation(page.tags.valueof(ORIENTATION_TAG, 1))


def _decode_image(image: TiffImage, options: DecodeOptions) -> DecodedImage:
    page = image.page
    stored = [read_plane(plane) for plane in image.planes]
    planes = [
        to_colours(plane.page, pixels, as_stored=options.as_stored)
        for plane, pixels in zip(image.planes, stored, strict=True)
    ]
    pixels = planes[0] if len(planes) == 1 else np.dstack(planes)
    extra_band = judge_extra_band(page, pixels) if len(planes) == 1 else None
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    return DecodedImage(
        pixels,
        page_orientation(page),
        palette(page),
        has_alpha=drops_last_band(extra_band, bands, options.channels)
        or (options.as_stored and _calls_last_alpha(page, bands)),
        separate_channels=bands > 1 and (len(planes) > 1 or photometric(page) in GREY_KINDS),
        lossy_codec=lossy_codec(page),
        valid=_fit(valid_pixels(image, stored), pixels),
        stored=StoredKind(_colours(page), bands, _depth(page)),
        extra_band=extra_band,
        white_is_zero=white_is_zero(page, stored[0]) if options.as_stored else None,
    )


def _calls_last_alpha(page: Any, bands: int) -> bool:
    """Tell whether a page calls its last band alpha, which a mask's is."""
    return bands > 1 and bool(page.extrasamples) and int(page.extrasamples[-1]) in ALPHA_KINDS


def _fit(
    valid: Bool[ndarray, "h w *c"] | None, pixels: Shaped[ndarray, "h w *c2"]
) -> Bool[ndarray, "h w *c2"] | None:
    """Give valid pixels the shape of an image whose inks became colours."""
    if valid is None or valid.shape == pixels.shape:
        return valid
    return np.broadcast_to(valid.all(axis=2, keepdims=True), pixels.shape).copy()


def _colours(page: Any) -> str:
    """Name the colours of a page as its files' maker saw them."""
    kind = photometric(page)
    return {"YCBCR": "RGB", "MASK": "MINISBLACK", "SEPARATED": "CMYK"}.get(kind, kind)


def _depth(page: Any) -> str:
    """Name the type of a page's numbers, such as uint16, or 4-bit."""
    bits = int(page.bitspersample)
    return str(page.dtype) if bits in {8, 16, 32, 64} else f"{bits}-bit"

"""Read images and masks from files, upright, as 8-bit images or as the values of a mask.

Decoding is strict. A file is decoded whole, or refused with its name, the cause and the cure. Its
size is read from the header and checked before a pixel is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.image_file import (
    OpenImage,
    TooLargeError,
    open_image,
    open_uploaded_image,
    open_whole_image,
    read_only_header,
)
from limner.data.image_pixels import to_8_bit_image, to_channels
from limner.data.mask_pixels import MaskPixels, to_mask_pixels
from limner.data.readers.decoded import (
    DecodedImage,
    DecodeOptions,
    ExtraBand,
    ImageHeader,
    StoredKind,
)
from limner.data.readers.pixel_size import PixelSize
from limner.data.readers.planes import forget_planes
from limner.labels import Labels
from limner.plurals import count_noun

MAX_UPLOAD_PAGES = 1000
MAX_UPLOAD_PIXEL_BYTES = 8
"""A pixel of an uploaded image may have as many, such as four channels of 16 bits."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file is like."""

    size_px: tuple[int, int]
    """Height and width upright."""
    orientation: int
    """As EXIF counts: 1 to 8, and 1 is upright."""
    bits: int
    """Of a channel."""
    largest: float
    """The largest value of a channel."""
    sha256: bytes
    """Of the bytes that were decoded, all of the file."""
    stored: StoredKind | None = None
    """How the file holds its pixels, where its format has many ways."""
    extra_band: ExtraBand | None = None
    """What the last band is, where it may not be a channel of the image."""
    no_data_share: float = 0.0
    """The share of pixels that hold no data."""
    left_out: tuple[str, ...] = ()
    """What else the file holds, in words."""
    pages: int = 1
    """How many images the file holds."""


def read_image(
    path: Path,
    *,
    page: int = 0,
    at_least_px: tuple[int, int] | None = None,
    channels: int | None = None,
) -> UInt8[ndarray, "h w c"]:
    """Read an image as 0..255, turned upright by its EXIF orientation.

    Alpha is dropped, and deeper pixels are brought to 8 bits. Colour, palette and grey give RGB. A
    TIFF of two channels, or of four and more, as of a microscope, gives as many.

    Args:
        path: The file.
        page: Which image, from 0, of a file that holds several.
        at_least_px: Height and width that suffice. A JPEG may then be decoded at a half, a quarter
            or an eighth, as long as it is no smaller than that.
        channels: How many the images of the set have. By it the last band of a TIFF is kept or
            left out where it may be a transparency or data, such as infrared. Without it the band
            itself decides.

    Raises:
        LimnerError: The file cannot be decoded whole.
    """
    with open_image(path) as image:
        options = DecodeOptions(page, at_least_px, channels=channels)
        return to_8_bit_image(image.decode_upright(options))


def read_with_info(
    path: Path,
    *,
    page: int = 0,
    at_least_px: tuple[int, int] | None = None,
    channels: int | None = None,
) -> tuple[UInt8[ndarray, "h w c"], ImageInfo]:
    """Read what `read_image` does, and from the same bytes what the file is like.

    Raises:
        LimnerError: As `read_image` does.
    """
    with open_whole_image(path) as (image, sha256):
        decoded = image.decode_upright(DecodeOptions(page, at_least_px, channels=channels))
        return to_8_bit_image(decoded), _info(image.header, decoded, sha256)


def read_values(path: Path, *, page: int = 0) -> Shaped[ndarray, "h w c"]:
    """Read the values of an image's channels as they stand in the file, upright.

    They have the file's own depth. A palette gives its colours, and alpha is dropped.

    Raises:
        LimnerError: As `read_image` does.
    """
    with open_image(path) as image:
        return to_channels(image.decode_upright(DecodeOptions(page, as_stored=True)))


@dataclass(frozen=True, slots=True)
class UploadedImages:
    """A file that somebody sent, whose images are decoded when they are asked for."""

    pages: int
    _opened: OpenImage

    def read(self, page: int = 0, channels: int | None = None) -> UInt8[ndarray, "h w c"]:
        """Decode one image as `read_image` does."""
        return to_8_bit_image(self._opened.decode_upright(DecodeOptions(page, channels=channels)))


@contextmanager
def open_upload(data: bytes, name: str, most_pixels: int) -> Iterator[UploadedImages]:
    """Open the content of a file that somebody sent. Every error while it is open names it.

    Args:
        data: The content.
        name: What errors call it.
        most_pixels: How many pixels its images may have together.

    Raises:
        TooLargeError: It has more pixels, more than 8 bytes for each, or more than
            `MAX_UPLOAD_PAGES` images. No pixel is then decoded.
        LimnerError: It cannot be decoded whole.
    """
    with open_uploaded_image(data, name) as image:
        header = image.header
        if (
            header.height * header.width * header.pages > most_pixels
            or header.pixel_bytes > MAX_UPLOAD_PIXEL_BYTES
            or header.pages > MAX_UPLOAD_PAGES
        ):
            raise TooLargeError(
                f"{name} claims {count_noun(header.pages, 'image')} of "
                f"{header.width}x{header.height} pixels of {header.pixel_bytes} bytes. At most "
                f"{MAX_UPLOAD_PAGES:,} images of {most_pixels:,} pixels together, of "
                f"{MAX_UPLOAD_PIXEL_BYTES} bytes, are taken: cut it, or use limner predict."
            )
        try:
            yield UploadedImages(header.pages, image)
        finally:
            forget_planes()


def decode_image(
    data: bytes, name: str, most_pixels: int, *, page: int = 0, channels: int | None = None
) -> UInt8[ndarray, "h w c"]:
    """Decode one image of an uploaded file. Arguments and errors are those of `read_image` and
    `open_upload`.
    """
    with open_upload(data, name, most_pixels) as upload:
        return upload.read(page, channels)


def read_mask(path: Path, *, page: int = 0) -> MaskPixels:
    """Read a mask's values as they stand in the file, turned upright by its EXIF orientation.

    1-bit masks give 0 and 255. RGB that is grey gives its one channel. Where alpha is all that
    varies, alpha is the mask; where a pixel is transparent it is 0. A TIFF that stores white as 0
    is inverted, so that its values are as a viewer shows them.

    Raises:
        LimnerError: The file cannot be decoded whole, or is not a mask.
    """
    with open_image(path) as image:
        return to_mask_pixels(image.decode_upright(DecodeOptions(page, as_stored=True)))


def read_mask_with_info(path: Path, *, page: int = 0) -> tuple[MaskPixels, ImageInfo]:
    """Read what `read_mask` does, and from the same bytes what the file is like.

    Raises:
        LimnerError: As `read_mask` does.
    """
    with open_whole_image(path) as (image, sha256):
        decoded = image.decode_upright(DecodeOptions(page, as_stored=True))
        return to_mask_pixels(decoded), _info(image.header, decoded, sha256)


def read_predicted_mask(path: Path, labels: Labels) -> UInt8[ndarray, "h w"]:
    """Read a mask that `Labels.to_pixels` gave, as class indices.

    Raises:
        LimnerError: The file is no such mask.
    """
    mask = read_mask(path)
    if labels.coloured and not labels.binary:
        mask = mask.to_colours()
    return labels.from_pixels(mask.values)


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width after the EXIF turn, from the header alone.

    Raises:
        LimnerError: The file cannot be opened, is not an image, or its header is damaged.
    """
    return read_only_header(path).size_px


def pixel_size(path: Path) -> PixelSize | None:
    """Read how large a pixel of the upright image is; None where the file does not state it.

    A resolution for printing, such as 300 pixels an inch, is none. Raises LimnerError as
    `image_size` does.
    """
    return read_only_header(path).pixel_size


def exif_orientation(path: Path) -> int:
    """Read how the file says that it must be turned, 1 to 8 as EXIF counts. Raises LimnerError as
    `image_size` does.
    """
    return read_only_header(path).orientation


def page_count(path: Path) -> int:
    """Count the images of the same size in a file, such as the slices of a TIFF stack. Raises
    LimnerError as `image_size` does.
    """
    return read_only_header(path).pages


def _info(header: ImageHeader, decoded: DecodedImage, sha256: bytes) -> ImageInfo:
    pixels, valid = decoded.pixels, decoded.valid
    return ImageInfo(
        header.size_px,
        header.orientation,
        1 if pixels.dtype == np.bool_ else 8 * pixels.itemsize,
        float(pixels.max() if valid is None else pixels.max(where=valid, initial=0)),
        sha256,
        decoded.stored,
        decoded.extra_band,
        0.0 if valid is None else 1 - float(valid.reshape(*pixels.shape[:2], -1).any(2).mean()),
        decoded.left_out,
        header.pages,
    )

"""Read images and masks from files: pick the reader, check the size, decode, turn upright.

Decoding is strict. A file is decoded whole, or refused with its name, the cause and the cure. Its
size is read from the header and checked before a pixel is decoded.
"""

import errno
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.image_pixels import to_8_bit_image
from limner.data.mask_pixels import MaskPixels, to_mask_pixels
from limner.data.readers import bmp, dicom, jpeg, png, tiff, webp
from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    UnsupportedImageError,
)
from limner.data.readers.exif import turn_upright
from limner.errors import LimnerError
from limner.labels import Labels


@runtime_checkable
class FormatReader(Protocol):
    """What a module of `readers` offers. The file stands at its start in each call.

    A reader raises UnsupportedImageError for a sound file that it does not read, and any other
    exception for a damaged one.
    """

    NAME: str
    SUFFIXES: frozenset[str]
    HOLDS_PAGES: bool

    def recognises(self, start: bytes, /) -> bool:
        """Tell by a file's first `START_BYTES` whether it is of this format."""
        ...

    def read_header(self, file: BinaryFile, /) -> ImageHeader:
        """Read the header, and as few bytes as that takes."""
        ...

    def decode(
        self, file: BinaryFile, header: ImageHeader, options: DecodeOptions, /
    ) -> DecodedImage:
        """Decode all pixels of one image."""
        ...


READERS: tuple[FormatReader, ...] = (jpeg, png, tiff, bmp, webp, dicom)
"""A new format is a new module, and a place here."""
FORMATS = tuple(reader.NAME for reader in READERS)
IMAGE_SUFFIXES = frozenset(suffix for reader in READERS for suffix in reader.SUFFIXES)
STACK_SUFFIXES = frozenset(
    suffix for reader in READERS if reader.HOLDS_PAGES for suffix in reader.SUFFIXES
)
"""Of files that may hold several images of the same size."""
START_BYTES = 132
MAX_PIXELS = 500_000_000
MAX_UPLOAD_PIXEL_BYTES = 8
"""A pixel of an uploaded image may have as many, such as four channels of 16 bits."""
OTHER_CONTENT = {
    b"GIF8": "it is a GIF",
    b"%PDF": "it is a PDF",
    b"PK\x03\x04": "it is a zip archive",
    b"<": "it is a text such as HTML or SVG",
    b"version https://git-lfs": (
        "it is a Git LFS pointer, whose content was never fetched (git lfs pull)"
    ),
    b"\x93NUMPY": "it is a NumPy array",
    b"\x00\x00\x00\x0cjP": "it is a JPEG 2000",
    b"\x1f\x8b": "it is a gzip archive, such as NIfTI",
}
"""What a file that is no image is, by its first bytes."""


class TooLargeError(LimnerError):
    """An image that is not decoded because of its size."""


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


def read_image(
    path: Path, *, page: int = 0, at_least_px: tuple[int, int] | None = None
) -> UInt8[ndarray, "h w c"]:
    """Read an image as 0..255, turned upright by its EXIF orientation.

    Alpha is dropped, and deeper pixels are brought to 8 bits. Colour, palette and grey give RGB. A
    TIFF of two channels, or of four and more, as of a microscope, gives as many.

    Args:
        path: The file.
        page: Which image, from 0, of a file that holds several.
        at_least_px: Height and width that suffice. A JPEG may then be decoded at a half, a quarter
            or an eighth, as long as it is no smaller than that.

    Raises:
        LimnerError: The file cannot be decoded whole.
    """
    with _open(path) as image:
        return to_8_bit_image(image.decode_upright(DecodeOptions(page, at_least_px)))


def read_with_info(
    path: Path, *, page: int = 0, at_least_px: tuple[int, int] | None = None
) -> tuple[UInt8[ndarray, "h w c"], ImageInfo]:
    """Read what `read_image` does, and from the same bytes what the file is like.

    Raises:
        LimnerError: As `read_image` does.
    """
    with _open_whole(path) as (image, content):
        decoded = image.decode_upright(DecodeOptions(page, at_least_px))
        return to_8_bit_image(decoded), _info(image.header, decoded, content)


def decode_image(data: bytes, name: str, most_pixels: int) -> UInt8[ndarray, "h w c"]:
    """Decode an uploaded image as `read_image` does.

    Args:
        data: The content of a file.
        name: What errors call it.
        most_pixels: How many pixels it may have.

    Raises:
        TooLargeError: It has more pixels, or more than 8 bytes for each. No pixel is then decoded.
        LimnerError: It cannot be decoded whole, or is DICOM.
    """
    file = io.BytesIO(data)
    with _naming_errors(name):
        if _pick_reader(file) is dicom:
            raise UnsupportedImageError(
                "is DICOM, which is read from files alone. Send JPEG, PNG, WebP, BMP or TIFF."
            )
        image = _read_header(file, name)
        header = image.header
        if (
            header.height * header.width > most_pixels
            or header.pixel_bytes > MAX_UPLOAD_PIXEL_BYTES
            or header.pages > 1
        ):
            raise TooLargeError(
                f"{name} claims {header.pages} images of {header.width}x{header.height} pixels of "
                f"{header.pixel_bytes} bytes. One of at most {most_pixels:,} pixels of "
                f"{MAX_UPLOAD_PIXEL_BYTES} bytes is taken: cut it, or use limner predict."
            )
        return to_8_bit_image(image.decode_upright(DecodeOptions()))


def read_mask(path: Path, *, page: int = 0) -> MaskPixels:
    """Read a mask's values as they stand in the file, turned upright by its EXIF orientation.

    1-bit masks give 0 and 255. RGB that is grey gives its one channel. Where alpha is all that
    varies, alpha is the mask; where a pixel is transparent it is 0. Dark on light stays so.

    Raises:
        LimnerError: The file cannot be decoded whole, or is no mask.
    """
    with _open(path) as image:
        return to_mask_pixels(image.decode_upright(DecodeOptions(page, as_stored=True)))


def read_mask_with_info(path: Path, *, page: int = 0) -> tuple[MaskPixels, ImageInfo]:
    """Read what `read_mask` does, and from the same bytes what the file is like.

    Raises:
        LimnerError: As `read_mask` does.
    """
    with _open_whole(path) as (image, content):
        decoded = image.decode_upright(DecodeOptions(page, as_stored=True))
        return to_mask_pixels(decoded), _info(image.header, decoded, content)


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
        LimnerError: The file cannot be opened, is no image, or its header is damaged.
    """
    return _read_header_of(path).size_px


def exif_orientation(path: Path) -> int:
    """Read how the file says that it must be turned, 1 to 8 as EXIF counts. Raises LimnerError as
    `image_size` does.
    """
    return _read_header_of(path).orientation


def page_count(path: Path) -> int:
    """Count the images of the same size in a file, such as the slices of a TIFF stack. Raises
    LimnerError as `image_size` does.
    """
    return _read_header_of(path).pages


@dataclass(frozen=True, slots=True)
class _OpenImage:
    """A file whose header was read and checked."""

    file: BinaryFile
    reader: FormatReader
    header: ImageHeader

    def decode_upright(self, options: DecodeOptions) -> DecodedImage:
        pages = self.header.pages
        if not 0 <= options.page < pages:
            raise UnsupportedImageError(
                f"has {pages} image{'s' * (pages != 1)}; number {options.page + 1} was asked for."
            )
        self.file.seek(0)
        decoded = self.reader.decode(self.file, self.header, options)
        return replace(decoded, pixels=turn_upright(decoded.pixels, decoded.orientation))


def _read_header_of(path: Path) -> ImageHeader:
    # A buffer would read more of the file than its header
    with _open_file(path, buffering=0) as file, _naming_errors(str(path)):
        return _read_header(file, str(path)).header


@contextmanager
def _open(path: Path) -> Iterator[_OpenImage]:
    """Open a file and read its header, and name the file in every error while it is open."""
    with _open_file(path) as file, _naming_errors(str(path)):
        yield _read_header(file, str(path))


@contextmanager
def _open_whole(path: Path) -> Iterator[tuple[_OpenImage, bytes]]:
    """Open a file as `_open` does, with all of its content, which was read at once."""
    with _open_file(path, buffering=0) as file, _naming_errors(str(path)):
        content = file.read()
        yield _read_header(io.BytesIO(content), str(path)), content


@contextmanager
def _open_file(path: Path, *, buffering: int = -1) -> Iterator[BinaryFile]:
    try:
        file: BinaryFile = path.open("rb", buffering=buffering)
    except FileNotFoundError as error:
        raise LimnerError(f"{path} does not exist.") from error
    except OSError as error:
        raise _cannot_be_opened(str(path), error) from error
    with file:
        yield file


def _info(header: ImageHeader, decoded: DecodedImage, content: bytes) -> ImageInfo:
    pixels = decoded.pixels
    return ImageInfo(
        header.size_px,
        header.orientation,
        1 if pixels.dtype == np.bool_ else 8 * pixels.itemsize,
        float(pixels.max()),
        hashlib.sha256(content).digest(),
    )


@contextmanager
def _naming_errors(name: str) -> Iterator[None]:
    """Turn every failure to read or decode a file into a LimnerError that names it."""
    try:
        yield
    except LimnerError:
        raise
    except UnsupportedImageError as error:
        raise LimnerError(f"{name} {error}") from error
    except MemoryError as error:
        raise LimnerError(f"{name} needs more memory than there is. Cut it into parts.") from error
    # The edge of the process: on hostile bytes a decoder may raise anything
    except Exception as error:
        # Hostile bytes may lead to a place before the file's start, which is an invalid argument
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise _cannot_be_opened(name, error) from error
        raise LimnerError(
            f"{name} is damaged: {str(error).rstrip('.') or type(error).__name__}. It must decode "
            "whole: copy or export it again."
        ) from error


def _cannot_be_opened(name: str, error: OSError) -> LimnerError:
    return LimnerError(
        f"{name} cannot be opened: {error.strerror}. Is it a file that you may read?"
    )


def _read_header(file: BinaryFile, name: str) -> _OpenImage:
    """Read the header, and check the size that it gives.

    Raises:
        TooLargeError: It is more than `MAX_PIXELS`.
    """
    reader = _pick_reader(file)
    header = reader.read_header(file)
    if header.height < 1 or header.width < 1:
        raise ValueError(f"its header gives {header.width}x{header.height} pixels")
    if header.height * header.width > MAX_PIXELS:
        raise TooLargeError(
            f"{name} claims {header.width}x{header.height} pixels. At most {MAX_PIXELS:,} are "
            "decoded: cut it into parts."
        )
    return _OpenImage(file, reader, header)


def _pick_reader(file: BinaryFile) -> FormatReader:
    start = file.read(START_BYTES)
    file.seek(0)
    for reader in READERS:
        if reader.recognises(start):
            return reader
    raise UnsupportedImageError(
        f"is no image that can be read: {_what_it_is(start)}. Formats are {', '.join(FORMATS)}: "
        "export it as one of them."
    )


def _what_it_is(start: bytes) -> str:
    """Say what a file that is no image seems to be."""
    if not start:
        return "it is empty"
    if start[4:8] == b"ftyp":
        return "it is a HEIC or AVIF photograph"
    matching = (text for magic, text in OTHER_CONTENT.items() if start.startswith(magic))
    return next(matching, "its content is unknown")

"""Read JPEG with libjpeg-turbo. Every complaint of the decoder refuses the file.

Pillow fills what is missing with grey and says nothing.
"""

import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from numpy import ndarray
from PIL import JpegImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader
from limner.data.readers.exif import exif_orientation

NAME = "JPEG"
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif"})
HOLDS_PAGES = False
START_OF_SCAN = 0xDA
MARKERS_WITH_A_LENGTH = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, 0xDA))
"""Of ITU-T T.81, table B.1: 0xD0 to 0xD9 restart, begin or end an image."""


def recognises(start: bytes) -> bool:
    return start.startswith(b"\xff\xd8\xff")


def read_header(file: BinaryFile) -> ImageHeader:
    data = _read_to_first_scan(file)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return ImageHeader(
        height, width, exif_orientation(JpegImagePlugin.JpegImageFile(io.BytesIO(data)))
    )


def decode(file: BinaryFile, header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return DecodedImage(
        _decode_pixels(file.read(), header, options.at_least_px),
        header.orientation,
        lossy_codec=NAME,
    )


def _decode_pixels(
    data: bytes, header: ImageHeader, at_least_px: tuple[int, int] | None
) -> UInt8[ndarray, "h w *c"]:
    colourspace = simplejpeg.decode_jpeg_header(data)[2]
    if colourspace in {"CMYK", "YCCK"}:
        # Pillow converts it to RGB, and libjpeg-turbo complains where it is damaged
        simplejpeg.decode_jpeg(data, "CMYK")
        return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(data)).convert("RGB"))
    height, width = at_least_px or header.size_px
    if header.orientation in {5, 6, 7, 8}:
        height, width = width, height
    pixels = simplejpeg.decode_jpeg(
        data, "GRAY" if colourspace == "Gray" else "RGB", min_height=height, min_width=width
    )
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _read_to_first_scan(file: BinaryFile) -> bytes:
    """Read up to where the pixels begin, or all of a file whose segments are not in order."""
    data = bytearray(file.read(2))
    while True:
        head = file.read(4)
        data += head
        if len(head) < 4 or head[0] != 0xFF or head[1] not in MARKERS_WITH_A_LENGTH:
            break
        body_bytes = int.from_bytes(head[2:4], "big") - 2
        body = file.read(max(0, body_bytes))
        data += body
        if len(body) != body_bytes:
            break
        if head[1] == START_OF_SCAN:
            return bytes(data)
    return bytes(data) + file.read()

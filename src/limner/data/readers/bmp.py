"""Read BMP."""

from PIL import BmpImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader
from limner.data.readers.pillow import decode_with_pillow

NAME = "BMP"
SUFFIXES = frozenset({".bmp", ".dib"})
HOLDS_PAGES = False


def recognises(start: bytes) -> bool:
    return start.startswith(b"BM")


def read_header(file: BinaryFile) -> ImageHeader:
    image = BmpImagePlugin.BmpImageFile(file)
    return ImageHeader(image.height, image.width)


def decode(file: BinaryFile, _header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    return decode_with_pillow(BmpImagePlugin.BmpImageFile(file))

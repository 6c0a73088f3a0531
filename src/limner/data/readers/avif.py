"""Read AVIF with Pillow, whose wheels hold its decoder."""

from dataclasses import replace

from PIL import AvifImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader
from limner.data.readers.exif import exif_orientation
from limner.data.readers.pillow import decode_with_pillow

NAME = "AVIF"
SUFFIXES = frozenset({".avif"})
HOLDS_PAGES = False
BRANDS = (b"avif", b"avis")


def recognises(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in BRANDS


def read_header(file: BinaryFile) -> ImageHeader:
    image = AvifImagePlugin.AvifImageFile(file)
    return ImageHeader(image.height, image.width, exif_orientation(image))


def decode(file: BinaryFile, header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    image = AvifImagePlugin.AvifImageFile(file)
    # Few programs write it without a loss, and its header does not say so
    return replace(decode_with_pillow(image, header.orientation), lossy_codec="AVIF")

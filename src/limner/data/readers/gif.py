"""Read GIF: its first frame, as Carvana's masks have one."""

from dataclasses import replace

from PIL import GifImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader
from limner.data.readers.pillow import decode_first_frame

NAME = "GIF"
SUFFIXES = frozenset({".gif"})
HOLDS_PAGES = False


def recognises(start: bytes) -> bool:
    return start.startswith((b"GIF87a", b"GIF89a"))


def read_header(file: BinaryFile) -> ImageHeader:
    image = GifImagePlugin.GifImageFile(file)
    return ImageHeader(image.height, image.width)


def decode(file: BinaryFile, _header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    image = GifImagePlugin.GifImageFile(file)
    decoded, further = decode_first_frame(image), image.n_frames - 1
    return replace(decoded, left_out=(f"{further} more frames",)) if further else decoded

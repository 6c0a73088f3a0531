"""Read whole slides of pathology scanners with OpenSlide, at full resolution and part by part."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    UnsupportedImageError,
)
from limner.data.readers.pixel_size import PixelSize, to_pixel_size
from limner.data.readers.planes import needs_package
from limner.data.views import Box
from limner.errors import LimnerError

NAME = "whole slides"
SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".bif"})
"""Their files begin as TIFFs and JPEGs do, so that the suffix alone tells them apart."""
HOLDS_PAGES = False
EXTRA = "slides"
WHITE = "ffffff"


class Slide:
    """The full resolution of a slide, of which only what is asked for is decoded.

    What was not scanned has the slide's background, which is white where the file names none. It is
    safe to read from several threads.

    Args:
        path: The file. The folder that belongs to a MIRAX slide lies beside it.

    Raises:
        UnsupportedImageError: OpenSlide does not know the file, or is not installed.
        openslide.OpenSlideError: The file is damaged.
    """

    channels = stored_channels = 3

    def __init__(self, path: Path) -> None:
        with needs_package("a whole slide", EXTRA):
            from openslide import OpenSlide, OpenSlideError, OpenSlideUnsupportedFormatError
        self._path, self._error = path, OpenSlideError
        try:
            self._file: Any = OpenSlide(path)
        except OpenSlideUnsupportedFormatError as error:
            raise UnsupportedImageError(
                "is no whole slide that OpenSlide knows. Is it complete, with the folder that "
                "belongs to it? Else export it as OME-TIFF with QuPath."
            ) from error
        width, height = self._file.dimensions
        self.size_px: tuple[int, int] = height, width
        properties = self._file.properties
        self._background = bytes.fromhex(properties.get("openslide.background-color", WHITE))
        self.pixel_size: PixelSize | None = to_pixel_size(
            properties.get("openslide.mpp-y"), properties.get("openslide.mpp-x"), "µm"
        )

    def read(self, box: Box) -> UInt8[ndarray, "h w 3"]:
        """Read a part of the slide as RGB. Raises LimnerError where it is damaged."""
        try:
            part = self._file.read_region((box.left, box.top), 0, (box.width, box.height))
        except self._error as error:
            raise LimnerError(
                f"{self._path} is damaged: {str(error).rstrip('.')}. Copy or export it again."
            ) from error
        pixels = np.asarray(part)
        rgb = pixels[..., :3].copy()
        rgb[pixels[..., 3] == 0] = np.frombuffer(self._background, np.uint8)
        return rgb


def recognises(_start: bytes) -> bool:
    return False


def read_header(file: BinaryFile) -> ImageHeader:
    slide = Slide(_path_of(file))
    return ImageHeader(*slide.size_px, stored_pixel_size=slide.pixel_size)


def decode(file: BinaryFile, header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    whole = Box(0, 0, header.height, header.width)
    return DecodedImage(Slide(_path_of(file)).read(whole), lossy_codec="JPEG")


def _path_of(file: BinaryFile) -> Path:
    """Where a file lies, since OpenSlide opens it by itself, and others beside it."""
    name = getattr(file, "name", None)
    if name is None:
        raise UnsupportedImageError("is a whole slide, which is read from a file alone.")
    return Path(name)

"""Images that are read part by part, in memory or larger than it."""

from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from limner.data.image_file import naming_errors
from limner.data.readers import slide, tiff
from limner.data.readers.slide import Slide
from limner.data.readers.tiff_images import list_images, quiet_tifffile
from limner.data.resize import BAND_PIXELS, REDUCING_GAP
from limner.data.tiled_tiff import TiledTiff
from limner.data.views import Box

LARGE_PIXELS = 100_000_000
"""A TIFF of more pixels is read part by part."""


@runtime_checkable
class ImageReader(Protocol):
    """An image of 0..255, upright, that gives any part of itself."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def channels(self) -> int: ...

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        """Read a part of the image."""
        ...


LargeImage = TiledTiff | Slide
"""An image in a file that is read part by part."""


class ArrayImage:
    """An image in memory."""

    def __init__(self, image: UInt8[ndarray, "h w c"]) -> None:
        self._image = image
        self.size_px, self.channels = (image.shape[0], image.shape[1]), image.shape[2]

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        return box.crop(self._image)


def open_large_image(path: Path, channels: int | None = None) -> LargeImage | None:
    """Open a whole slide, or a TIFF of more than `LARGE_PIXELS`; None stands for other files.

    Args:
        path: The file.
        channels: How many channels the image is to have, as for `images.read_image`.

    Raises:
        LimnerError: As `TiledTiff` does; a slide that cannot be opened.
    """
    if path.suffix.lower() in slide.SUFFIXES and path.is_file():
        with naming_errors(str(path)):
            return Slide(path)
    # A pipe may never end; `read_image` says that it is one
    if path.suffix.lower() not in tiff.SUFFIXES or not path.is_file():
        return None
    try:
        with quiet_tifffile().TiffFile(path) as file:
            page = list_images(file).images[0].page
            if int(page.imagelength) * int(page.imagewidth) <= LARGE_PIXELS:
                return None
    except Exception:  # noqa: BLE001
        # `read_image` says what is wrong with it
        return None
    return TiledTiff(path, channels)


def open_same_image(path: Path, channels: int | None = None) -> LargeImage | None:
    """Open a file as `open_large_image` does; the few that were opened last stay open.

    A file that was written anew is opened anew.
    """
    try:
        state = path.stat()
    except OSError:
        # What is wrong with it is said where it is read
        return None
    return _open_signed(path, channels, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _open_signed(
    path: Path, channels: int | None, _signature: tuple[int, int]
) -> LargeImage | None:
    return open_large_image(path, channels)


def downsample(image: ImageReader, size_px: tuple[int, int]) -> UInt8[ndarray, "h w c"]:
    """Resize an image to (height, width), as `resize_image` does, with never all of it in memory.

    It is averaged in whole blocks band by band, and then resized.
    """
    height, width = image.size_px
    row_factor, column_factor = (
        max(1, int(side / target / REDUCING_GAP))
        for side, target in zip(image.size_px, size_px, strict=True)
    )
    band_rows = max(1, BAND_PIXELS // width // row_factor) * row_factor
    bands = [
        _reduce(
            image.read(Box(top, 0, min(band_rows, height - top), width)), row_factor, column_factor
        )
        for top in range(0, height, band_rows)
    ]
    # The last block of a row or a column may be smaller than the others
    whole = (0, 0, width / column_factor, height / row_factor)
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            size_px[::-1], Image.Resampling.BILINEAR, box=whole
        )
        for plane in np.moveaxis(np.concatenate(bands), 2, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _reduce(
    band: UInt8[ndarray, "h w c"], row_factor: int, column_factor: int
) -> UInt8[ndarray, "h2 w2 c"]:
    """Average blocks of pixels."""
    planes = [
        np.asarray(Image.fromarray(plane).reduce((column_factor, row_factor)))
        for plane in np.moveaxis(band, 2, 0)
    ]
    return np.stack(planes, axis=2)

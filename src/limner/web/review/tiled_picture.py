"""TiledPicture: a large image in tiles at its own size, at half of it, at a quarter and so on."""

import io
from collections import OrderedDict
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from limner.data.image_pixels import to_rgb
from limner.data.large_images import ImageReader
from limner.data.views import Box
from limner.data.writers.jpeg import encode_jpeg

TILE_PX = 512
QUALITY = 92
MOST_BYTES = 256_000_000
"""Of encoded tiles that are kept."""

Place = tuple[int, int, int]
"""The level (0 is the image's own size, each next one the half), row and column of a tile."""


class TiledPicture:
    """Makes each tile when it is asked for, of the four tiles of the level below.

    Tiles are kept as JPEG, but for those of the level 0, which are read again. It is safe to use
    from several threads; two that ask for one tile at once may both make it.

    Args:
        image: Gives any part of the image.
    """

    def __init__(self, image: ImageReader) -> None:
        self._image, self._lock = image, Lock()
        self._kept: OrderedDict[Place, bytes] = OrderedDict()
        self._bytes = 0
        longest = max(image.size_px)
        self.levels = max(0, (-(-longest // TILE_PX) - 1).bit_length())
        """How often the image is halved until it is one tile."""

    def has(self, level: int, row: int, column: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level <= self.levels:
            return False
        height, width = self._size_px(level)
        return 0 <= row * TILE_PX < height and 0 <= column * TILE_PX < width

    def tile(self, level: int, row: int, column: int) -> bytes:
        """A tile as JPEG. Raises LimnerError where the image cannot be read there."""
        place = level, row, column
        kept = self._find(place)
        if kept is None:
            pixels = self._make(place)
            # Of the level 0 nothing is kept
            kept = self._find(place) or encode_jpeg(pixels, QUALITY)
        return kept

    def smallest(self) -> tuple[UInt8[ndarray, "h w 3"], int]:
        """The whole image as one tile, and how many pixels of the image each of its has a side."""
        return self._pixels((self.levels, 0, 0)), 2**self.levels

    def _size_px(self, level: int) -> tuple[int, int]:
        height, width = self._image.size_px
        return -(-height >> level), -(-width >> level)

    def _pixels(self, place: Place) -> UInt8[ndarray, "h w 3"]:
        kept = self._find(place)
        if kept is None:
            return self._make(place)
        return np.asarray(Image.open(io.BytesIO(kept)))

    def _make(self, place: Place) -> UInt8[ndarray, "h w 3"]:
        level, row, column = place
        height, width = self._size_px(level)
        top, left = row * TILE_PX, column * TILE_PX
        box = Box(top, left, min(TILE_PX, height - top), min(TILE_PX, width - left))
        if level == 0:
            return to_rgb(self._image.read(box))
        pixels = self._halve(place, box)
        self._keep(place, encode_jpeg(pixels, QUALITY))
        return pixels

    def _halve(self, place: Place, box: Box) -> UInt8[ndarray, "h w 3"]:
        """Join the tiles of the level below, and average blocks of two by two pixels."""
        level, row, column = place
        rows = []
        for below in (2 * row, 2 * row + 1):
            parts = [
                self._pixels((level - 1, below, beside))
                for beside in (2 * column, 2 * column + 1)
                if self.has(level - 1, below, beside)
            ]
            if parts:
                rows.append(np.concatenate(parts, axis=1))
        joined = Image.fromarray(np.concatenate(rows, axis=0)).reduce(2)
        return np.asarray(joined)[: box.height, : box.width]

    def _find(self, place: Place) -> bytes | None:
        with self._lock:
            content = self._kept.get(place)
            if content is not None:
                self._kept.move_to_end(place)
            return content

    def _keep(self, place: Place, content: bytes) -> None:
        with self._lock:
            self._bytes += len(content) - len(self._kept.get(place, b""))
            self._kept[place] = content
            self._kept.move_to_end(place)
            while self._bytes > MOST_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])

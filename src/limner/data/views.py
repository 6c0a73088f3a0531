"""Where an image lies on the canvases of the network: rectangles, views and tiles."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.recipe import ResizeMode

TILES_PER_OVERLAP = 4
"""In use, neighbouring tiles share at least one in so many of their side, and fade into each other.
"""


class Box(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def from_edges(cls, top: int, left: int, bottom: int, right: int) -> "Box":
        """Make a box from its edges; bottom and right are the first that it does not hold."""
        return cls(top, left, bottom - top, right - left)

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right; the last two are the first that it does not hold."""
        return self.top, self.left, self.top + self.height, self.left + self.width

    def crop(self, pixels: ndarray) -> ndarray:
        """Cut the box from an array whose first axes are height and width."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def crop_planes(self, planes: ndarray) -> ndarray:
        """Cut the box from an array whose last axes are height and width."""
        return planes[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True)
class View:
    """A part of an image on a canvas."""

    source: Box | None
    """The part of the image; None is all of it."""
    target: Box
    """Where it lies on the canvas."""
    new_area: Box
    """The part of the canvas that shows what no earlier view shows."""


@dataclass(frozen=True, slots=True)
class _TileStart:
    """Where a tile begins along an axis of the image."""

    start: int
    new_from: int
    """Where the pixels begin that no earlier tile holds."""


def views(
    image_px: tuple[int, int],
    size_px: tuple[int, int],
    resize_mode: ResizeMode,
    *,
    overlap: bool = False,
) -> list[View]:
    """List the views through which an image is seen.

    Args:
        image_px: Height and width of the image.
        size_px: Height and width of the canvases.
        resize_mode: "resize" and "letterbox" have one view, of the whole image. "tile" has as many,
            at the image's own size, as cover it.
        overlap: Tiles share a quarter of their side at least.
    """
    if resize_mode == "tile":
        rows, columns = (
            _tile_starts(length, tile, tile // TILES_PER_OVERLAP if overlap else 0)
            for length, tile in zip(image_px, size_px, strict=True)
        )
        return [_tile_view(image_px, size_px, row, column) for row in rows for column in columns]
    shown_px = size_px
    if resize_mode == "letterbox":
        factor = min(size_px[0] / image_px[0], size_px[1] / image_px[1])
        shown_px = max(1, round(image_px[0] * factor)), max(1, round(image_px[1] * factor))
    target = _centred(shown_px, size_px)
    return [View(None, target, target)]


def blend_weights(length: int) -> Float32[ndarray, " n"]:
    """Return weights that fall evenly from the middle to the ends, and stay above 0."""
    position = np.arange(length, dtype=np.float32)
    return np.minimum(position + 1, length - position) / np.float32(length)


def _centred(shown_px: tuple[int, int], size_px: tuple[int, int]) -> Box:
    (height, width), (canvas_height, canvas_width) = shown_px, size_px
    return Box((canvas_height - height) // 2, (canvas_width - width) // 2, height, width)


def _tile_starts(length: int, tile: int, overlap: int) -> list[_TileStart]:
    """List where tiles begin along an axis; the last ends with the image."""
    if length <= tile:
        return [_TileStart(0, 0)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]
    return [
        _TileStart(start, 0 if i == 0 else starts[i - 1] + tile) for i, start in enumerate(starts)
    ]


def _tile_view(
    image_px: tuple[int, int], size_px: tuple[int, int], row: _TileStart, column: _TileStart
) -> View:
    height, width = min(image_px[0], size_px[0]), min(image_px[1], size_px[1])
    target = _centred((height, width), size_px)
    seen_rows = max(0, row.new_from - row.start)
    seen_columns = max(0, column.new_from - column.start)
    new_area = Box(
        target.top + seen_rows, target.left + seen_columns, height - seen_rows, width - seen_columns
    )
    return View(Box(row.start, column.start, height, width), target, new_area)

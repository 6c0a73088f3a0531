"""The pixels of one shape, in the box that holds them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from numpy import ndarray


@dataclass(frozen=True, slots=True)
class ShapePart:
    """The pixels of a shape in a box of the image."""

    top: int
    left: int
    pixels: Bool[ndarray, "h w"]

    def paint(self, mask: UInt8[ndarray, "h w"], value: int) -> None:
        """Give the shape's pixels of a mask a value."""
        height, width = self.pixels.shape
        box = mask[self.top : self.top + height, self.left : self.left + width]
        box[self.pixels] = value


def part_in_box(
    top: int, left: int, pixels: Bool[ndarray, "h w"], size_px: tuple[int, int]
) -> ShapePart:
    """Put pixels in a box of an image. Raises ValueError where they reach beyond it."""
    height, width = pixels.shape
    if top < 0 or left < 0 or top + height > size_px[0] or left + width > size_px[1]:
        raise ValueError("a mask lies outside of its image")
    return ShapePart(top, left, pixels)


EMPTY_PART = ShapePart(0, 0, np.zeros((0, 0), bool))


def part_of_spans(
    rows: Int64[ndarray, " n"],
    left: Int64[ndarray, " n"],
    right: Int64[ndarray, " n"],
    size_px: tuple[int, int],
) -> ShapePart:
    """Unite horizontal spans; both ends belong to a span. What lies outside is cut off.

    Args:
        rows: The row of each span.
        left: Its first column. A span that ends before it begins is empty.
        right: Its last column.
        size_px: Height and width of the image.
    """
    height, width = size_px
    left, right = np.maximum(left, 0), np.minimum(right, width - 1)
    kept = (left <= right) & (rows >= 0) & (rows < height)
    rows, left, right = rows[kept], left[kept], right[kept]
    if not len(rows):
        return EMPTY_PART
    top, first = int(rows.min()), int(left.min())
    # One column more, in which the spans of the right border end
    shape = int(rows.max()) - top + 1, int(right.max()) - first + 2
    start = (rows - top) * shape[1] - first
    steps = np.bincount(start + left, minlength=shape[0] * shape[1])
    steps -= np.bincount(start + right + 1, minlength=shape[0] * shape[1])
    return ShapePart(top, first, np.cumsum(steps).reshape(shape)[:, :-1] > 0)

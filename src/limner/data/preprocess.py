"""One image to the network's arrays: the one preprocessing, of training and use alike.

An image is seen through views, each of which lays a part of it onto a canvas of the working size.
`resize` and `letterbox` have one view, of the whole image; `tile` has as many, at the image's own
size, as cover it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray

from limner.data.resize import downsample_mask, resize_image
from limner.errors import LimnerError
from limner.labels import VOID
from limner.recipe import ResizeMode

VERSION = 4
OVERLAP = 4
"""In use, neighbouring tiles share at least this fraction (one in so many) of their side, and fade
into each other.
"""


class Box(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def from_edges(cls, top: int, left: int, bottom: int, right: int) -> "Box":
        return cls(top, left, bottom - top, right - left)

    def crop(self, pixels: ndarray) -> ndarray:
        """The part of an array whose first axes are height and width."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def crop_planes(self, planes: ndarray) -> ndarray:
        """The part of an array whose last axes are height and width."""
        return planes[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True)
class View:
    """A part of an image (None is all of it), where it lies on the canvas, and what of the canvas
    no earlier view shows.
    """

    source: Box | None
    target: Box
    new_area: Box


def views(
    image_px: tuple[int, int],
    size_px: tuple[int, int],
    resize_mode: ResizeMode,
    *,
    overlap: bool = False,
) -> list[View]:
    """How an image of one size is seen on canvases of another; with `overlap`, tiles share a
    quarter of their side at least.
    """
    if resize_mode == "tile":
        rows, columns = (
            _cuts(length, tile, tile // OVERLAP if overlap else 0)
            for length, tile in zip(image_px, size_px, strict=True)
        )
        return [_tile(image_px, size_px, row, column) for row in rows for column in columns]
    height, width = size_px
    if resize_mode == "letterbox":
        factor = min(size_px[0] / image_px[0], size_px[1] / image_px[1])
        height, width = (max(1, round(length * factor)) for length in image_px)
    target = Box((size_px[0] - height) // 2, (size_px[1] - width) // 2, height, width)
    return [View(None, target, target)]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the network's input: laid onto canvases of `size_px` (height, width), then
    standardised by channel.

    `mean` and `std` are in units of the range 0..1, for each channel, or one of each where the
    network sees the mean of the channels. They are from the training images alone, or those that a
    pretrained encoder expects.
    """

    size_px: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_mode: ResizeMode = "resize"

    def views(self, image_px: tuple[int, int]) -> list[View]:
        """The views through which the network sees an image of a size in use."""
        return views(image_px, self.size_px, self.resize_mode, overlap=True)

    def check_channels(self, channels: int) -> None:
        """Raises LimnerError for an image of other channels than those of the training."""
        if len(self.mean) not in {1, channels}:
            raise LimnerError(
                f"the image has {channels} channels, and this model was trained on "
                f"{len(self.mean)}. Give images as those of its training."
            )

    def to_canvas(self, image: UInt8[ndarray, "h w c"], view: View) -> UInt8[ndarray, "h2 w2 c"]:
        """What the network is shown of an image through a view."""
        return to_canvas(image, view, self.size_px)

    def normalise(self, canvas: UInt8[ndarray, "h w c"]) -> Float32[ndarray, "c2 h w"]:
        """A canvas as the network's input."""
        planes = np.ascontiguousarray(canvas.transpose(2, 0, 1), np.float32)  # (c, h, w)
        planes /= 255
        if len(self.mean) == 1:
            planes = planes.mean(0, keepdims=True)
        planes -= np.array(self.mean, np.float32)[:, None, None]
        planes /= np.array(self.std, np.float32)[:, None, None]
        return planes


def to_canvas(
    image: UInt8[ndarray, "h w c"], view: View, size_px: tuple[int, int]
) -> UInt8[ndarray, "h2 w2 c"]:
    """A view of an image as a canvas; what the view does not fill repeats its edge."""
    return pad_to_canvas(
        resize_image(
            image if view.source is None else view.source.crop(image),
            (view.target.height, view.target.width),
        ),
        view,
        size_px,
    )


def pad_to_canvas(
    part: UInt8[ndarray, "h w c"], view: View, size_px: tuple[int, int]
) -> UInt8[ndarray, "h2 w2 c"]:
    """What a view shows on its canvas, its edge repeated around it."""
    return (
        np.pad(part, (*_margins(view.target, size_px), (0, 0)), mode="edge")
        if part.shape[:2] != size_px
        else part
    )


def mask_to_canvas(
    class_index: UInt8[ndarray, "h w"], view: View, size_px: tuple[int, int], classes: int
) -> UInt8[ndarray, "h2 w2"]:
    """A view of a mask as a canvas; void where it shows nothing, or what an earlier view shows, so
    that each pixel counts once.
    """
    part = downsample_mask(
        class_index if view.source is None else view.source.crop(class_index),
        (view.target.height, view.target.width),
        classes,
    )
    canvas = np.full(size_px, VOID, np.uint8)
    view.target.crop(canvas)[:] = part
    hidden: Bool[ndarray, "h2 w2"] = np.ones(size_px, bool)
    view.new_area.crop(hidden)[:] = False
    canvas[hidden] = VOID
    return canvas


def channel_statistics(
    images_uint8: UInt8[ndarray, "n h w c"], channels: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation in units of 0..1, of each channel or (`channels` 1) of their
    mean, from at most 2,000 images spread over the set.
    """
    sums, squares, count = np.zeros(channels), np.zeros(channels), 0
    for image in images_uint8[:: max(1, len(images_uint8) // 2000)]:
        pixels = image.reshape(-1, image.shape[2]).astype(np.float64) / 255
        pixels = pixels if channels > 1 else pixels.mean(1, keepdims=True)
        sums += pixels.sum(0)
        squares += (pixels**2).sum(0)
        count += len(pixels)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())


def _cuts(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin along an axis, and where what they are the first to show begins; the last
    ends with the image.
    """
    if length <= tile:
        return [(0, 0)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]
    return [(start, 0 if i == 0 else starts[i - 1] + tile) for i, start in enumerate(starts)]


def _tile(
    image_px: tuple[int, int],
    size_px: tuple[int, int],
    row: tuple[int, int],
    column: tuple[int, int],
) -> View:
    (top, fresh_top), (left, fresh_left) = row, column
    height, width = min(image_px[0], size_px[0]), min(image_px[1], size_px[1])
    target = Box((size_px[0] - height) // 2, (size_px[1] - width) // 2, height, width)
    skip_rows, skip_columns = max(0, fresh_top - top), max(0, fresh_left - left)
    fresh = Box(
        target.top + skip_rows, target.left + skip_columns, height - skip_rows, width - skip_columns
    )
    return View(Box(top, left, height, width), target, fresh)


def _margins(target: Box, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (target.top, size_px[0] - target.top - target.height), (
        target.left,
        size_px[1] - target.left - target.width,
    )


def blend_weights(length: int) -> Float32[ndarray, " n"]:
    """Weights that fall evenly from the middle to the ends and stay above 0."""
    position = np.arange(length, dtype=np.float32)
    return np.minimum(position + 1, length - position) / np.float32(length)

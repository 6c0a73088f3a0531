"""One image to the network's arrays: the one preprocessing, of training and of use.

An image is seen through views, each of which lays a part of it onto a canvas of the working size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray

from limner.data.resize import downsample_mask, resize_image
from limner.data.views import Box, View, views
from limner.errors import LimnerError
from limner.labels import VOID
from limner.recipe import ResizeMode

VERSION = 5
MOST_STATISTICS_IMAGES = 2000


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the network's input: laid onto canvases, then standardised by channel."""

    size_px: tuple[int, int]
    """Height and width of a canvas."""
    mean: tuple[float, ...]
    """In units of the range 0..1, for each channel, or one where the network sees their mean.

    It is that of the training images alone, or the one that a pretrained encoder expects.
    """
    std: tuple[float, ...]
    """Standard deviation, as `mean`."""
    resize_mode: ResizeMode = "resize"
    channel_files: tuple[str, ...] = ()
    """The endings of the files that hold an image's channels; none where one file holds all."""

    @property
    def channels(self) -> int | None:
        """How many channels an image has; None where the network sees their mean."""
        return len(self.mean) if len(self.mean) > 1 else None

    def views(self, image_px: tuple[int, int]) -> list[View]:
        """List the views through which the network sees an image of (height, width) in use."""
        return views(image_px, self.size_px, self.resize_mode, overlap=True)

    def check_channels(self, channels: int) -> None:
        """Check that an image has the channels of the training images.

        Raises:
            LimnerError: It has others.
        """
        if len(self.mean) not in {1, channels}:
            raise LimnerError(
                f"the image has {channels} channels, and this model was trained on "
                f"{len(self.mean)}. Give images as those of its training."
            )

    def to_canvas(self, image: UInt8[ndarray, "h w c"], view: View) -> UInt8[ndarray, "h2 w2 c"]:
        """Lay a view of an image onto a canvas."""
        return to_canvas(image, view, self.size_px)

    def normalise(self, canvas: UInt8[ndarray, "h w c"]) -> Float32[ndarray, "c2 h w"]:
        """Turn a canvas into the network's input."""
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
    """Lay a view of an image onto a canvas of (height, width); the rest repeats its edge."""
    source = image if view.source is None else view.source.crop(image)
    part = resize_image(source, (view.target.height, view.target.width))
    return pad_to_canvas(part, view, size_px)


def pad_to_canvas(
    part: UInt8[ndarray, "h w c"], view: View, size_px: tuple[int, int]
) -> UInt8[ndarray, "h2 w2 c"]:
    """Repeat the edge of what a view shows, up to the edges of its canvas."""
    if part.shape[:2] == size_px:
        return part
    return np.pad(part, (*_margins(view.target, size_px), (0, 0)), mode="edge")


def mask_to_canvas(
    class_index: UInt8[ndarray, "h w"], view: View, size_px: tuple[int, int], classes: int
) -> UInt8[ndarray, "h2 w2"]:
    """Lay a view of a mask onto a canvas of (height, width).

    It is void where the view shows nothing, or what an earlier view shows. So each pixel counts
    once.
    """
    source = class_index if view.source is None else view.source.crop(class_index)
    canvas = np.full(size_px, VOID, np.uint8)
    view.target.crop(canvas)[:] = downsample_mask(
        source, (view.target.height, view.target.width), classes
    )
    seen_before: Bool[ndarray, "h2 w2"] = np.ones(size_px, bool)
    view.new_area.crop(seen_before)[:] = False
    canvas[seen_before] = VOID
    return canvas


def channel_statistics(
    images_uint8: UInt8[ndarray, "n h w c"], channels: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation in units of 0..1.

    Args:
        images_uint8: Training images; at most 2,000, spread over the set, are read.
        channels: As many as the images have, or 1 for the mean of their channels.
    """
    sums, squares, count = np.zeros(channels), np.zeros(channels), 0
    for image in images_uint8[:: max(1, len(images_uint8) // MOST_STATISTICS_IMAGES)]:
        pixels = image.reshape(-1, image.shape[2]).astype(np.float64) / 255
        pixels = pixels if channels > 1 else pixels.mean(1, keepdims=True)
        sums += pixels.sum(0)
        squares += (pixels**2).sum(0)
        count += len(pixels)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())


def _margins(target: Box, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels above, below, left and right of a box on its canvas."""
    bottom, right = target.top + target.height, target.left + target.width
    return (target.top, size_px[0] - bottom), (target.left, size_px[1] - right)

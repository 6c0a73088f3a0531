"""Pixels of any depth and any channels as 8-bit images."""

from dataclasses import replace

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.readers.decoded import DecodedImage, Pixels, UnsupportedImageError
from limner.errors import LimnerError

WINDOW_PERCENT = (0.1, 99.9)
"""Pixels deeper than 8 bits are brought to 0..255 between these percentiles of their values, so
that a hot pixel does not darken the rest.
"""


def to_image(pixels: Shaped[ndarray, "*_"]) -> UInt8[ndarray, "h w c"]:
    """Turn an array into the image that `read_image` gives of a file with these pixels.

    Args:
        pixels: (height, width) or (height, width, channels), of any depth or boolean. 8-bit pixels
            keep their values and all their channels; grey becomes RGB. No palette and no alpha is
            assumed.

    Raises:
        LimnerError: There is no pixel, a pixel is not a finite number, or the array has another
            shape.
    """
    if pixels.ndim not in {2, 3} or not pixels.size:
        raise LimnerError(
            f"the array has the shape {pixels.shape}. An image has height, width and, unless it is "
            "grey, channels."
        )
    separate_channels = pixels.ndim == 3 and pixels.shape[2] != 3
    try:
        return to_8_bit_image(DecodedImage(pixels, separate_channels=separate_channels))
    except UnsupportedImageError as error:
        raise LimnerError(f"the array {error}") from error


def to_rgb(pixels: UInt8[ndarray, "h w c"]) -> UInt8[ndarray, "h w 3"]:
    """Turn an image of any number of channels into RGB: its first three as red, green and blue.

    Channels that are missing are 0.
    """
    missing = max(0, 3 - pixels.shape[2])
    if missing:
        pixels = np.pad(pixels, ((0, 0), (0, 0), (0, missing)))
    return np.ascontiguousarray(pixels[..., :3])


def to_8_bit_image(decoded: DecodedImage) -> UInt8[ndarray, "h w c"]:
    """Turn decoded pixels into an image of 0..255 without alpha; grey becomes RGB.

    Raises:
        UnsupportedImageError: A value is not a finite number.
    """
    if decoded.palette is not None:
        return decoded.palette[decoded.pixels]
    pixels = decoded.pixels[..., :-1] if decoded.has_alpha else decoded.pixels
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8:
        pixels = _scale_to_8_bits(replace(decoded, pixels=pixels))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def _scale_to_8_bits(decoded: DecodedImage) -> UInt8[ndarray, "h w *c"]:
    """Scale grey and RGB by one range, and separate channels each by its own."""
    pixels, window = decoded.pixels, decoded.window
    if pixels.ndim == 2 or (pixels.shape[2] == 3 and not decoded.separate_channels):
        return _scale_range_to_8_bits(pixels, window)
    channels = range(pixels.shape[2])
    return np.stack([_scale_range_to_8_bits(pixels[..., c], window) for c in channels], axis=2)


def _scale_range_to_8_bits(
    pixels: Pixels, window: tuple[float, float] | None
) -> UInt8[ndarray, "h w *c"]:
    """Scale linearly between the file's own window, or between `WINDOW_PERCENT` of the values."""
    if pixels.dtype.kind not in "uif" or not np.isfinite(pixels).all():
        raise UnsupportedImageError(
            f"holds values that are no numbers (NaN or infinite, or type {pixels.dtype}). Export "
            "it with finite pixel values."
        )
    low, high = window or np.percentile(pixels, WINDOW_PERCENT)
    if high <= low:
        low, high = float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1)
    # float32 cannot tell neighbouring large integers apart
    is_wide_integer = pixels.dtype.kind in "ui" and pixels.dtype.itemsize > 2
    dtype = np.float64 if is_wide_integer else np.float32
    scaled = (np.clip(pixels.astype(dtype), low, high) - dtype(low)) * dtype(255 / (high - low))
    return np.rint(scaled).astype(np.uint8)

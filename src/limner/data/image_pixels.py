"""Pixels of any depth and any channels as 8-bit images."""

from colorsys import hsv_to_rgb
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from numpy import ndarray

from limner.data.readers.decoded import DecodedImage, Pixels, UnsupportedImageError
from limner.errors import LimnerError

WINDOW_PERCENT = (0.1, 99.9)
"""Pixels deeper than 8 bits are brought to 0..255 between these percentiles of their values, so
that a hot pixel does not darken the rest.
"""
ALMOST_MOST_FLOAT32, ALMOST_MOST_FLOAT64 = 1e38, 1e304
"""Larger numbers may differ by more than their type can hold."""
PALE_SATURATION = 0.5
"""Of the hues in which more than three channels are shown."""
SMALLER = 2.0**-12
"""A factor that changes no digit of a float."""


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
    """Turn an image of any number of channels into RGB.

    Up to three channels are red, green and blue, and those that are missing are 0. Of more, each
    has a pale hue of its own, and the brightest of them shows: the strong colours are the masks'.
    """
    channels = pixels.shape[2]
    if channels == 3:
        return np.ascontiguousarray(pixels)
    if channels < 3:
        return np.pad(pixels, ((0, 0), (0, 0), (0, 3 - channels)))
    shown = np.zeros((*pixels.shape[:2], 3), np.uint16)
    for index in range(channels):
        hue = np.array(hsv_to_rgb(index / channels, PALE_SATURATION, 1.0))
        scaled = pixels[..., index, None] * np.rint(256 * hue).astype(np.uint16)
        np.maximum(shown, scaled, out=shown)
    return (shown >> 8).astype(np.uint8)


def to_8_bit_image(decoded: DecodedImage) -> UInt8[ndarray, "h w c"]:
    """Turn decoded pixels into an image of 0..255 without alpha; grey becomes RGB.

    Values that are not measurements are 0, and have no part in the contrast.

    Raises:
        UnsupportedImageError: A value is not a finite number.
    """
    pixels, valid = _without_alpha(decoded)
    if decoded.palette is not None:
        pixels = decoded.palette[pixels]
        valid = valid if valid is None else valid[..., None]
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8:
        pixels = _scale_to_8_bits(replace(decoded, pixels=pixels, valid=valid))
    if valid is not None:
        pixels = np.where(valid, pixels, np.uint8(0))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def to_channels(decoded: DecodedImage) -> Shaped[ndarray, "h w c"]:
    """Give the channels of an image with the values and the depth that they are stored with.

    A palette gives its colours, and alpha is dropped.
    """
    pixels, _ = _without_alpha(decoded)
    if decoded.palette is not None:
        pixels = decoded.palette[pixels]
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _without_alpha(decoded: DecodedImage) -> tuple[Pixels, Bool[ndarray, "h w *c"] | None]:
    """Return the channels of an image and which values are valid; one channel has no axis."""
    pixels, valid = decoded.pixels, decoded.valid
    if decoded.has_alpha:
        pixels, valid = pixels[..., :-1], valid if valid is None else valid[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels, valid = pixels[..., 0], valid if valid is None else valid[..., 0]
    return pixels, valid


def _scale_to_8_bits(decoded: DecodedImage) -> UInt8[ndarray, "h w *c"]:
    """Scale grey and RGB by one range, and separate channels each by its own."""
    pixels, valid, window = decoded.pixels, decoded.valid, decoded.window
    if pixels.ndim == 2 or (pixels.shape[2] == 3 and not decoded.separate_channels):
        return _scale_range_to_8_bits(pixels, valid, window)
    scaled = [
        _scale_range_to_8_bits(
            pixels[..., channel], valid if valid is None else valid[..., channel], window
        )
        for channel in range(pixels.shape[2])
    ]
    return np.stack(scaled, axis=2)


def _scale_range_to_8_bits(
    pixels: Pixels,
    valid: Bool[ndarray, "h w *c"] | None,
    window: tuple[float, float] | None,
) -> UInt8[ndarray, "h w *c"]:
    """Scale linearly between the file's own window, or between `WINDOW_PERCENT` of the values."""
    measured = pixels if valid is None else pixels[valid]
    if pixels.dtype.kind not in "uif" or not np.isfinite(measured).all():
        raise UnsupportedImageError(
            f"holds values that are not numbers (NaN or infinite, or type {pixels.dtype}). Export "
            "it with finite pixel values."
        )
    if not measured.size:
        return np.zeros(pixels.shape, np.uint8)
    if valid is not None:
        pixels = np.where(valid, pixels, measured[0])
    if pixels.dtype.kind == "f" or (pixels.dtype.itemsize == 8 and window is None):
        pixels = _with_room(pixels) if pixels.dtype.kind == "f" else _from_the_lowest(pixels)
        measured = pixels if valid is None else pixels[valid]
    low, high = window or np.percentile(measured, WINDOW_PERCENT)
    if high <= low:
        low, high = float(measured.min()), max(float(measured.max()), float(measured.min()) + 1)
    # float32 cannot tell neighbours apart among large integers and the numbers of float64
    if pixels.dtype.itemsize > (4 if pixels.dtype.kind == "f" else 2):
        scaled = (np.clip(pixels.astype(np.float64), low, high) - low) * 255 / (high - low)
    else:
        single = np.float32
        scaled = (np.clip(pixels.astype(single), low, high) - single(low)) * single(
            255 / (high - low)
        )
    return np.rint(scaled).astype(np.uint8)


def _from_the_lowest(pixels: Pixels) -> Pixels:
    """Count from the lowest number, since float64 cannot tell neighbours beyond 2**53 apart."""
    # Beyond the largest number it goes on with the lowest, so that differences are right
    return pixels.astype(np.uint64) - pixels.min().astype(np.uint64)


def _with_room(pixels: Float[ndarray, "h w *c"]) -> Float[ndarray, "h w *c"]:
    """Return the same floats, in a type and of a size in which their differences are numbers."""
    if pixels.dtype.itemsize == 2:
        return pixels.astype(np.float32)
    most = max(abs(float(pixels.min())), abs(float(pixels.max())))
    if pixels.dtype.itemsize == 4:
        return pixels.astype(np.float64) if most > ALMOST_MOST_FLOAT32 else pixels
    return pixels * SMALLER if most > ALMOST_MOST_FLOAT64 else pixels

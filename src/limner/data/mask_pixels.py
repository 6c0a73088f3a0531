"""The values of a mask as its file holds them, before they have classes."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt, UInt32
from numpy import ndarray

from limner.data.readers.decoded import (
    DecodedImage,
    Pixels,
    UnsupportedImageError,
    WhiteIsZero,
)

PixelKind = Literal["grey", "palette", "colour"]
"""Whether the values of a mask are grey levels, indices of a palette, or colours as 0xRRGGBB."""

MOST_VALUE, MOST_OBJECTS = 65535, 4294967295
"""Of fractions that are whole, and of whole numbers, which may number objects beyond 16 bits."""
SMEARED_GREY = 8
"""Channels of a grey mask may differ by as much, of 255; 1 was measured in lossy WebP."""


@dataclass(frozen=True, slots=True)
class MaskPixels:
    """A mask's pixel values."""

    values: UInt[ndarray, "h w"]
    """Grey values, palette indices, or colours as 0xRRGGBB, as `kind` says."""
    kind: PixelKind
    palette: tuple[int, ...] = ()
    """The colour (0xRRGGBB) of each index."""
    lossy_codec: str = ""
    """The codec that changed values when the file was written; empty for none."""
    void: Bool[ndarray, "h w"] | None = None
    """Where the file holds no data, so that there is neither a value nor a class."""
    white_is_zero: WhiteIsZero | None = None
    """What was done with the values where the file stores white as 0."""

    @property
    def lossy(self) -> bool:
        """Whether values were changed when the file was written."""
        return bool(self.lossy_codec)

    def to_colours(self) -> "MaskPixels":
        """Return the same mask as the colours that a viewer shows."""
        if self.kind == "colour":
            return self
        table = (
            np.array(self.palette, np.uint32)
            if self.kind == "palette"
            else np.arange(256, dtype=np.uint32) * 0x010101
        )
        colours = table[np.minimum(self.values, len(table) - 1)]
        return replace(self, values=colours, kind="colour", palette=())


def to_mask_pixels(decoded: DecodedImage) -> MaskPixels:
    """Find the mask in decoded pixels.

    True is 255. RGB whose channels are equal gives one of them. Where alpha alone varies, alpha is
    the mask; elsewhere transparent pixels are 0.

    Raises:
        UnsupportedImageError: The pixels are not a mask.
    """
    mask = _find_mask(decoded)
    if decoded.valid is None:
        return mask
    valid = decoded.valid.reshape(*mask.values.shape, -1)
    return replace(mask, void=np.logical_not(valid.all(axis=2)))


def _find_mask(decoded: DecodedImage) -> MaskPixels:
    """Find the mask in pixels; where there is no data it is 0."""
    pixels = decoded.pixels
    if decoded.valid is not None:
        pixels = np.where(decoded.valid, pixels, pixels.dtype.type(0))
    if decoded.palette is not None:
        colours = tuple(_to_colour_numbers(decoded.palette).tolist())
        return MaskPixels(pixels, "palette", colours, decoded.lossy_codec)
    if decoded.has_alpha:
        pixels = _without_alpha(pixels)
    if pixels.ndim == 3 and _is_grey(pixels, decoded.lossy_codec):
        # Of a lossy codec green is nearest to the grey that was saved
        pixels = pixels[..., 1 if decoded.lossy_codec and pixels.shape[2] == 3 else 0]
    if pixels.ndim == 3 and decoded.separate_channels:
        raise UnsupportedImageError(
            f"holds {pixels.shape[2]} planes that it calls channels. A mask has one: export one "
            "value for each class, or a stack with the axes ZYX."
        )
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 2:
        return MaskPixels(
            _to_whole_values(pixels),
            "grey",
            lossy_codec=decoded.lossy_codec,
            white_is_zero=decoded.white_is_zero,
        )
    if pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UnsupportedImageError(
            f"is a mask of {pixels.shape[2]} channels of type {pixels.dtype}. A mask is grey, a "
            "palette or 8-bit RGB: export one value for each class."
        )
    return MaskPixels(_to_colour_numbers(pixels), "colour", lossy_codec=decoded.lossy_codec)


def _is_grey(pixels: Shaped[ndarray, "h w c"], lossy_codec: str) -> bool:
    """Whether all channels are equal, or nearly so after a codec that changes values."""
    if not lossy_codec:
        return bool((pixels == pixels[..., :1]).all())
    return int(np.ptp(pixels, axis=2).max()) <= SMEARED_GREY


def _to_colour_numbers(colours: Shaped[ndarray, "*n 3"]) -> UInt32[ndarray, "*n"]:
    """Turn RGB into numbers, 0xRRGGBB."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _to_whole_values(pixels: Shaped[ndarray, "h w"]) -> UInt[ndarray, "h w"]:
    """Turn whole numbers of any type into 8, 16 or 32 bits.

    Raises:
        UnsupportedImageError: They are negative, fractions or larger.
    """
    most = MOST_VALUE if pixels.dtype.kind == "f" else MOST_OBJECTS
    if pixels.dtype == np.uint8:
        return pixels
    are_whole = (
        np.isfinite(pixels).all()
        and 0 <= pixels.min() <= pixels.max() <= most
        and (pixels == np.floor(pixels)).all()
    )
    if not are_whole:
        raise UnsupportedImageError(
            f"has values from {pixels.min()} to {pixels.max()}. A mask has whole values from 0 to "
            f"{MOST_VALUE}, or to {MOST_OBJECTS} as integers: export the classes' numbers."
        )
    return pixels.astype(np.min_scalar_type(int(pixels.max())))


def _without_alpha(pixels: Shaped[ndarray, "h w c"]) -> Pixels:
    """Return the colours, or the alpha where it alone varies. Transparent pixels are 0.

    Raises:
        UnsupportedImageError: Pixels are half transparent.
    """
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if alpha.min() == alpha.max():
        return colours if alpha.max() > 0 else np.zeros_like(colours)
    if (colours == colours[:1, :1]).all():
        return alpha
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    if not np.isin(alpha, (0, opaque)).all():
        raise UnsupportedImageError(
            "is half transparent in places, so its classes are not certain. A mask has one value "
            "for each class: export it without alpha."
        )
    return colours * (alpha > 0)[..., None].astype(colours.dtype)

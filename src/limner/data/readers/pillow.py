"""Decode one image with a plugin of Pillow's."""

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from limner.data.readers.decoded import DecodedImage, UnsupportedImageError


def decode_with_pillow(image: Image.Image, orientation: int = 1) -> DecodedImage:
    """Decode an image that Pillow has opened, and keep the indices of a palette.

    Raises:
        UnsupportedImageError: It is an animation.
    """
    if getattr(image, "n_frames", 1) > 1:
        raise UnsupportedImageError(
            f"is an animation of {getattr(image, 'n_frames', 1)} frames. One image is read from a "
            "file: export the frames."
        )
    return decode_first_frame(image, orientation)


def decode_first_frame(image: Image.Image, orientation: int = 1) -> DecodedImage:
    """Decode the frame that an image shows first, and keep the indices of a palette."""
    image.load()
    if image.mode == "PA":
        image = image.convert("RGBA")
    return DecodedImage(
        np.asarray(image),
        orientation,
        _palette(image) if image.mode == "P" else None,
        has_alpha=image.mode in {"LA", "RGBA"},
    )


def _palette(image: Image.Image) -> UInt8[ndarray, "256 3"]:
    colours = image.getpalette("RGB") or []
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours) // 3] = np.array(colours, np.uint8).reshape(-1, 3)
    return palette

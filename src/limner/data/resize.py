"""Images, masks and probabilities at another size."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image

from limner.labels import VOID

REDUCING_GAP = 3.0
"""How many times the target size an image is first averaged down to, in whole blocks."""
BAND_PIXELS = 16 * 1024 * 1024
"""How many pixels are resized at once."""


def resize_image(
    pixels: UInt8[ndarray, "h w *c"], size_px: tuple[int, int]
) -> UInt8[ndarray, "h2 w2 *c"]:
    """Resize an image bilinearly, with antialiasing, to `size_px` (height, width)."""
    if pixels.shape[:2] == size_px:
        return pixels
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        # Pillow would take a fourth channel for alpha
        return np.stack(
            [resize_image(pixels[..., channel], size_px) for channel in range(pixels.shape[2])],
            axis=2,
        )
    return np.asarray(
        Image.fromarray(pixels).resize(
            size_px[::-1], Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP
        )
    )


def downsample_mask(
    class_index: UInt8[ndarray, "h w"], size_px: tuple[int, int], classes: int
) -> UInt8[ndarray, "h2 w2"]:
    """Resize a mask to `size_px` (height, width) by area vote.

    Each new pixel takes the class that covers most of it, so no new value appears.
    """
    if class_index.shape == size_px:
        return class_index
    present = [value for value in (*range(classes), VOID) if (class_index == value).any()]
    area_shares = [
        np.asarray(
            Image.fromarray((class_index == value).astype(np.uint8) * 255).resize(
                size_px[::-1], Image.Resampling.BOX
            )
        )
        for value in present
    ]
    return np.array(present, np.uint8)[np.argmax(area_shares, axis=0)]


def upsample_bands(
    planes: Float32[ndarray, "k h w"], size_px: tuple[int, int]
) -> Iterator[Float32[ndarray, "k h2 w2"]]:
    """Resize probabilities bilinearly to `size_px` (height, width), in bands from top to bottom.

    A band has at most `BAND_PIXELS` pixels of each class.
    """
    height, width = size_px
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if planes.shape[1:] == size_px:
            yield planes[:, top:bottom]
            continue
        box = (
            0,
            top * planes.shape[1] / height,
            planes.shape[2],
            bottom * planes.shape[1] / height,
        )
        yield np.stack(
            [
                np.asarray(
                    Image.fromarray(plane).resize(
                        (width, bottom - top), Image.Resampling.BILINEAR, box=box
                    )
                )
                for plane in planes
            ]
        )

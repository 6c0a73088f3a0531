"""The orientation that a file's metadata states, and turning pixels upright by it."""

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray
from PIL import Image

from limner.data.readers.decoded import Pixels

ORIENTATION_TAG = 0x0112


def valid_orientation(value: object) -> int:
    """Return an orientation as EXIF counts, 1 to 8; any other value is 1, upright."""
    return next((orientation for orientation in range(1, 9) if value == orientation), 1)


def exif_orientation(image: Image.Image) -> int:
    """Return the orientation in the EXIF data, or else the XMP data, of an image of Pillow's.

    It is 1 where that data is missing or damaged, since pixels do not depend on it.
    """
    try:
        return valid_orientation(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001
        # Hostile metadata may raise anything
        return 1


def orientation_of_metadata(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation in EXIF and XMP data that were read without their image."""
    image = Image.new("L", (1, 1))
    for name, content in (("exif", exif), ("xmp", xmp)):
        if content:
            image.info[name] = content
    return exif_orientation(image)


def turn_upright(pixels: Pixels, orientation: int) -> Shaped[ndarray, "h2 w2 *c"]:
    """Turn pixels upright, by their orientation as EXIF counts (TIFF 6.0, tag 274)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

"""The masks of large images, as files, of which parts are read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from limner.data.images import read_mask
from limner.data.large_images import open_same_image
from limner.data.mask_pixels import MaskPixels, to_mask_pixels
from limner.data.readers.decoded import DecodedImage
from limner.data.tiled_tiff import TiledTiff
from limner.data.united_mask import UnitedMask
from limner.data.views import Box
from limner.errors import LimnerError

ReadMaskPart = Callable[[Box], MaskPixels]


def read_mask_regions(file: Path | UnitedMask) -> tuple[ReadMaskPart, tuple[int, int]]:
    """Open a mask, of which parts are read.

    Returns:
        What reads a part, and height and width of the mask. A file that cannot be read part by part
        is read whole.

    Raises:
        LimnerError: The file cannot be read, or is no mask.
    """
    try:
        large = open_same_image(file) if isinstance(file, Path) else None
    except LimnerError:
        # Such as a palette
        large = None
    if large is not None:

        def read_part(box: Box) -> MaskPixels:
            pixels, valid = (
                large.read_stored(box) if isinstance(large, TiledTiff) else (large.read(box), None)
            )
            if pixels.shape[2] == 1:
                pixels = pixels[..., 0]
                valid = None if valid is None else valid[..., 0]
            return to_mask_pixels(DecodedImage(pixels, valid=valid))

        return read_part, large.size_px
    whole = read_mask(file) if isinstance(file, Path) else file.read_with_info()[0]

    def crop(box: Box) -> MaskPixels:
        void = None if whole.void is None else box.crop(whole.void)
        return replace(whole, values=box.crop(whole.values), void=void)

    return crop, (whole.values.shape[0], whole.values.shape[1])

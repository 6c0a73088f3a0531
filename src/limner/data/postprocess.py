"""What may be done to a mask after the network: the largest part alone, holes filled, specks
removed; each is off unless validation showed a gain.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from scipy import ndimage

from limner.labels import Labels

SMALL_COMPONENT = 0.001
"""Parts smaller than this share of the image are specks."""


@dataclass(frozen=True, slots=True)
class Postprocessing:
    """Which of the three are done, to each class that counts.

    Holes are those of class 0, the background where there is one, which is also what is left of
    removed parts.
    """

    keep_largest: bool = False
    fill_holes: bool = False
    remove_small: bool = False

    def __call__(self, class_index: UInt8[ndarray, "h w"], labels: Labels) -> UInt8[ndarray, "h w"]:
        """The mended mask, as a new array."""
        mended = class_index.copy()
        for index in (
            labels.scored if self.keep_largest or self.fill_holes or self.remove_small else ()
        ):
            before = mended == index
            inside = self._mend(before)
            mended[before & ~inside] = 0
            mended[inside & (mended == 0)] = index
        return mended

    def _mend(self, inside: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
        if self.keep_largest or self.remove_small:
            parts, count = ndimage.label(inside)
            if count > 1:
                sizes = np.bincount(parts.ravel())
                sizes[0] = 0
                keep = (
                    sizes >= SMALL_COMPONENT * inside.size
                    if self.remove_small
                    else np.ones(count + 1, bool)
                )
                keep[0] = False
                if self.keep_largest or not keep.any():
                    # Of specks alone the largest stays
                    keep = np.arange(count + 1) == sizes.argmax()
                inside = keep[parts]
        filled: Bool[ndarray, "h w"] = (
            ndimage.binary_fill_holes(inside) if self.fill_holes else inside
        )
        return filled


def count_components_and_holes(inside: Bool[ndarray, "h w"]) -> tuple[int, int]:
    """How many connected parts a mask has, and how many holes (of background that does not reach
    the image's edge); neighbours share a side.
    """
    parts = ndimage.label(inside)[1]
    outside = ndimage.label(np.pad(~inside, 1, constant_values=True))[1]
    return int(parts), int(outside) - 1

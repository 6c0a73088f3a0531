"""A mask whose objects lie in several files, such as x_mask.png and x_mask_1.png."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from numpy import ndarray

from limner.data.images import ImageInfo, read_mask_with_info
from limner.data.mask_pixels import MaskPixels
from limner.errors import LimnerError
from limner.files import join_sha256

MIDDLE_GREY = 127


@dataclass(frozen=True, slots=True)
class UnitedMask:
    """The masks of one image, each of other objects; 0 is background in all of them."""

    files: tuple[Path, ...]
    values: tuple[int, ...] = ()
    """What the objects of each file become, where a file is of one class; else they stay."""

    def __str__(self) -> str:
        more = len(self.files) - 1
        return f"{self.files[0]} and {more} more masks of its image" if more else f"{self.files[0]}"

    @property
    def sha256(self) -> bytes:
        """Of the bytes of all files."""
        return join_sha256(hashlib.sha256(file.read_bytes()).digest() for file in self.files)

    def absolute(self) -> "UnitedMask":
        """Return the same mask with absolute paths."""
        return replace(self, files=tuple(file.absolute() for file in self.files))

    def read_with_info(self) -> tuple[MaskPixels, ImageInfo]:
        """Read all files and unite them.

        Raises LimnerError where a file cannot be read, where they differ in size, and where two
        give a pixel two classes.
        """
        read = [read_mask_with_info(file) for file in self.files]
        if self.values:
            read = [
                (_of_one_class(mask, value), info)
                for value, (mask, info) in zip(self.values, read, strict=True)
            ]
        (first, info), *others = read
        values = first.values
        for file, (mask, _) in zip(self.files[1:], others, strict=True):
            values = self._unite(values, mask, file, first)
        sha256 = join_sha256(info.sha256 for _, info in read)
        lossy_codec = next((mask.lossy_codec for mask, _ in read if mask.lossy), "")
        voids = [mask.void for mask, _ in read if mask.void is not None]
        # What one file has no data for, another may show an object at
        void = np.logical_or.reduce(voids) & (values == 0) if voids else None
        return (
            replace(first, values=values, lossy_codec=lossy_codec, void=void),
            ImageInfo(first.values.shape, 1, info.bits, float(values.max()), sha256),
        )

    def _unite(
        self, united: UInt[ndarray, "h w"], mask: MaskPixels, file: Path, first: MaskPixels
    ) -> UInt[ndarray, "h w"]:
        """Add the objects of one file to those of the files before it."""
        if mask.values.shape != united.shape or mask.kind != first.kind:
            (height, width), (other_height, other_width) = united.shape, mask.values.shape
            raise LimnerError(
                f"{file} is {other_width}x{other_height} and {mask.kind}, but {self.files[0]} is "
                f"{width}x{height} and {first.kind}. Masks of one image have one size and one "
                "kind of pixel: export them again."
            )
        differ = (united != mask.values) & (united > 0) & (mask.values > 0)
        # Smooth edges differ too, and say nothing of classes
        if differ.any() and not (_has_smooth_edges(first) and _has_smooth_edges(mask)):
            y, x = np.argwhere(differ)[0]
            raise LimnerError(
                f"{file} gives the pixel at x {x}, y {y} the value {mask.values[y, x]}, and a mask "
                f"before it {united[y, x]}. Masks of one image that overlap have the same value "
                "there: mend one of them."
            )
        return np.maximum(united, mask.values)


def _of_one_class(mask: MaskPixels, value: int) -> MaskPixels:
    """Give all objects of a mask one value; what a lossy codec left around them is none."""
    threshold = MIDDLE_GREY if mask.lossy and mask.kind == "grey" else 0
    values = value * (mask.values > threshold).astype(np.uint8)
    return replace(mask, values=values, kind="grey", palette=(), lossy_codec="")


def _has_smooth_edges(mask: MaskPixels) -> bool:
    """Whether a mask has more grey levels than background and one class."""
    return mask.kind == "grey" and (mask.lossy or len(np.unique(mask.values)) > 2)

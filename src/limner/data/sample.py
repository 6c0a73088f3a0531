"""One image with its mask: where they lie, and how they are read."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.annotation_mask import AnnotationMask
from limner.data.images import (
    ImageInfo,
    image_size,
    read_image,
    read_mask_with_info,
    read_with_info,
)
from limner.data.large_images import open_same_image
from limner.data.mask_pixels import MaskPixels
from limner.data.region_masks import read_mask_regions
from limner.data.united_mask import UnitedMask
from limner.data.views import Box
from limner.errors import LimnerError
from limner.files import channel_paths, sha256_of_file
from limner.labels import VOID, Labels

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class SampleDigest:
    """What a sample is, whatever its name: the SHA-256 of the bytes of its image and its mask."""

    image: bytes
    mask: bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and its mask: a file, several files, or drawn from annotations.

    `id` is unique in the dataset. `split` is None where the layout states none. Samples of one
    `group`, such as a patient, stay in one split.
    """

    id: str
    image: Path
    mask: Path | UnitedMask | AnnotationMask
    split: Split | None = None
    group: str | None = None
    page: int = 0
    """Which image of its file it is, counted from 0."""
    pages: int = 1
    """How many images the file holds."""
    mask_page: int | None = None
    """Which image of the mask's file it is, where that is another than `page`."""
    channels: int | None = None
    """How many channels the images of the set have, once that is known."""
    region: Box | None = None
    """The part of a large image that the sample is; None for all of it."""

    def files(self) -> tuple[Path, ...]:
        """List the files of the image and, where they are files, the masks."""
        images = channel_paths(self.image)
        if isinstance(self.mask, AnnotationMask):
            return images
        return (
            *images,
            *(self.mask.files if isinstance(self.mask, UnitedMask) else [self.mask]),
        )

    def absolute(self) -> "Sample":
        """Return the same sample with absolute paths."""
        mask = self.mask if isinstance(self.mask, AnnotationMask) else self.mask.absolute()
        return replace(self, image=self.image.absolute(), mask=mask)

    def own_mask_file(self) -> Path | None:
        """The mask's file, where one file holds it, another the image, and both nothing else."""
        shares = self.pages > 1 or self.mask_page is not None or self.region is not None
        is_file = isinstance(self.mask, Path) and self.mask.is_file() and self.image.is_file()
        return self.mask if isinstance(self.mask, Path) and is_file and not shares else None

    @property
    def image_id(self) -> str:
        """The id, without what tells the regions of a large image apart."""
        return self.id if self.region is None else self.id.rpartition("@")[0]

    @property
    def split_or_train(self) -> Split:
        """The split in a dataset that has splits: what none is stated for is for training."""
        return self.split or "train"

    def with_split(self, split: Split | None) -> "Sample":
        """Return the same sample in a split."""
        return self if split == self.split else replace(self, split=split)

    def read_image(
        self, at_least_px: tuple[int, int] | None = None, *, channels: int | None = None
    ) -> UInt8[ndarray, "h w c"]:
        """Read the image, as `images.read_image` does.

        Args:
            at_least_px: Height and width; a JPEG may be decoded at a reduced scale that is no
                smaller.
            channels: As for `images.read_image`; by default those of the set.
        """
        channels = channels or self.channels
        if self.region is not None:
            return self._read_region(self.region, channels)
        return read_image(self.image, page=self.page, at_least_px=at_least_px, channels=channels)

    def read_image_with_info(
        self, at_least_px: tuple[int, int] | None = None
    ) -> tuple[UInt8[ndarray, "h w c"], ImageInfo]:
        """Read the image, and what its file is like, from the same bytes.

        Of a part of a large image these are its pixels.
        """
        if self.region is not None:
            pixels = self._read_region(self.region, self.channels)
            return pixels, _region_info(pixels)
        return read_with_info(
            self.image, page=self.page, at_least_px=at_least_px, channels=self.channels
        )

    def read_mask(self) -> MaskPixels:
        """Read the mask's pixel values, as `images.read_mask` does, or draw them."""
        return self.read_mask_with_info()[0]

    def read_mask_with_info(self) -> tuple[MaskPixels, ImageInfo]:
        """Read the mask, and what its file is like, from the same bytes."""
        if isinstance(self.mask, AnnotationMask):
            mask = self.mask.read(self.image)
            sha256 = self.mask.sha256
            return mask, ImageInfo(mask.values.shape, 1, 8, float(mask.values.max()), sha256)
        if self.region is not None:
            mask = read_mask_regions(self.mask)[0](self.region)
            return mask, _region_info(mask.values)
        if isinstance(self.mask, UnitedMask):
            return self.mask.read_with_info()
        page = self.page if self.mask_page is None else self.mask_page
        return read_mask_with_info(self.mask, page=page)

    def size_px(self) -> tuple[int, int]:
        """Read height and width of the upright image, as `images.image_size` does."""
        return image_size(self.image) if self.region is None else self.region[2:]

    def class_index(self, labels: Labels) -> UInt8[ndarray, "h w"]:
        """Read the mask as class indices.

        Raises LimnerError, which names the file, for a mask that cannot be read and for a pixel
        value without a class.
        """
        return self.to_class_index(self.read_mask(), labels)

    def to_class_index(self, mask: MaskPixels, labels: Labels) -> UInt8[ndarray, "h w"]:
        """Turn this sample's mask, already read, into class indices.

        Raises LimnerError, which names the file, for a pixel value without a class.
        """
        values = (mask.to_colours() if labels.coloured else mask).values
        if mask.void is not None:
            if mask.void.all():
                return np.full(values.shape, VOID, np.uint8)
            # What stands there is no class; any that is one does
            values = np.where(mask.void, values[~mask.void][0], values)
        try:
            class_index = labels.to_class_index(values)
        except LimnerError as error:
            raise LimnerError(f"{self.mask}: {error}") from error
        if mask.void is not None:
            class_index[mask.void] = VOID
        return class_index

    def read_digest(self) -> SampleDigest:
        """Hash what `read_image_with_info` and `read_mask_with_info` read.

        These are the bytes of both files, of which nothing is decoded; or the pixels of a part.
        """
        image = self.image_sha256()
        if isinstance(self.mask, AnnotationMask):
            return SampleDigest(image, self.mask.sha256)
        if self.region is not None:
            return SampleDigest(image, self.read_mask_with_info()[1].sha256)
        if isinstance(self.mask, UnitedMask):
            return SampleDigest(image, self.mask.sha256)
        return SampleDigest(image, bytes.fromhex(sha256_of_file(self.mask)))

    def image_sha256(self) -> bytes:
        """Hash the bytes of the image's file, or the pixels of a part of a large one."""
        if self.region is not None:
            return _region_info(self._read_region(self.region, self.channels)).sha256
        return bytes.fromhex(sha256_of_file(self.image))

    def _read_region(self, region: Box, channels: int | None) -> UInt8[ndarray, "h w c"]:
        image = open_same_image(self.image, channels)
        if image is None:
            raise LimnerError(
                f"{self.image} cannot be read part by part any more. It must stay as it was when "
                "the folder was read: start again."
            )
        return image.read(region)


def _region_info(pixels: Shaped[ndarray, "h w *c"]) -> ImageInfo:
    """What a part of an image is like, whose identity is its pixels."""
    sha256 = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
    size_px = pixels.shape[0], pixels.shape[1]
    return ImageInfo(size_px, 1, 8 * pixels.itemsize, float(pixels.max()), sha256)

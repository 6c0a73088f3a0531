"""One image with its mask: where they lie, and how they are read. A mask is a file, or shapes that
an annotation file holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.images import MAX_PIXELS, MaskPixels, image_size, read_image, read_mask
from limner.errors import LimnerError
from limner.labels import Labels

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class AnnotationMask:
    """A mask that is drawn from COCO annotations: polygons or run lengths, each with its class
    index, the largest first.

    A polygon within another one of the same object is a hole.
    """

    file: Path
    image_name: str
    size_px: tuple[int, int]
    shapes: str
    """JSON of [class index, COCO segmentation] pairs: text, so that the sample stays hashable and
    small.
    """

    def __str__(self) -> str:
        return f"{self.file} ({self.image_name})"

    def read(self) -> MaskPixels:
        """Draw it. Raises LimnerError where an annotation is malformed."""
        height, width = self.size_px
        if not 0 < height * width <= MAX_PIXELS:
            raise LimnerError(
                f"{self} claims {width}x{height} pixels. From 1 to {MAX_PIXELS:,} are drawn: "
                "mend the size in the annotation file."
            )
        mask = np.zeros(self.size_px, np.uint8)
        for class_index, segmentation in json.loads(self.shapes):
            try:
                mask[_draw(segmentation, height, width)] = class_index
            except Exception as error:
                # Hostile annotations may raise anything
                raise LimnerError(
                    f"{self} has an annotation that cannot be drawn ({error}). It must be "
                    "polygons or run lengths as COCO has them."
                ) from error
        return MaskPixels(mask, "grey")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and its mask; `id` is unique in the dataset, `split` is None where the layout has
    none.

    Samples of one `group`, such as a patient, stay on one side of every split. `page` counts from 0
    in a stack of images.
    """

    id: str
    image: Path
    mask: Path | AnnotationMask
    split: Split | None = None
    group: str | None = None
    page: int = 0

    def read_image(self, at_least_px: tuple[int, int] | None = None) -> UInt8[ndarray, "h w c"]:
        """RGB or as many channels as the file has, 0..255. Raises LimnerError as
        `images.read_image` does.
        """
        return read_image(self.image, page=self.page, at_least_px=at_least_px)

    def read_mask(self) -> MaskPixels:
        """The mask's pixel values. Raises LimnerError as `images.read_mask` does."""
        return (
            self.mask.read()
            if isinstance(self.mask, AnnotationMask)
            else read_mask(self.mask, page=self.page)
        )

    def size_px(self) -> tuple[int, int]:
        """Height and width of the image, upright, from its header. Raises LimnerError as
        `images.image_size` does.
        """
        return image_size(self.image)

    def class_index(self, labels: Labels) -> UInt8[ndarray, "h w"]:
        """The mask as class indices. Raises LimnerError naming the file for a value that has no
        class.
        """
        mask = self.read_mask()
        try:
            return labels.to_class_index((mask.to_colours() if labels.coloured else mask).values)
        except LimnerError as error:
            raise LimnerError(f"{self.mask}: {error}") from error

    def content(self) -> tuple[bytes, bytes]:
        """The bytes that image and mask are made of, by which a cache knows them."""
        mask = (
            self.mask.shapes.encode()
            if isinstance(self.mask, AnnotationMask)
            else self.mask.read_bytes()
        )
        return self.image.read_bytes(), mask


def _draw(segmentation: Any, height: int, width: int) -> Bool[ndarray, "h w"]:
    """Run lengths, or polygons of one object: joined, but for one that lies within another, which
    is a hole. Raises ValueError.
    """
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(
                f"its run lengths are of size {segmentation['size']}, not {[height, width]}"
            )
        counts = segmentation["counts"]
        runs = np.array(counts if isinstance(counts, list) else decode_rle(counts), np.int64)
        if (runs < 0).any() or runs.sum() != height * width:
            raise ValueError(f"its run lengths cover {runs.sum()} of {height * width} pixels")
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    from pycocotools import mask as coco

    drawn, parts = np.zeros((height, width), bool), list[Bool[ndarray, "h w"]]()
    for polygon in sorted(segmentation, key=polygon_area, reverse=True):
        points = np.array(polygon, np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2:
            raise ValueError(
                f"a polygon has {len(polygon)} numbers, and needs pairs of three points or more"
            )
        if not np.isfinite(points).all() or np.abs(points).max() > 16 * max(height, width):
            raise ValueError("a polygon lies far outside of its image")
        part = coco.decode(coco.frPyObjects([points.tolist()], height, width))[..., 0].astype(bool)
        if any((part == other).all() for other in parts):
            continue
        within = any((part <= other).all() for other in parts)
        drawn = drawn ^ part if within else drawn | part
        parts.append(part)
    return drawn


def polygon_area(polygon: Sequence[int | float]) -> float:
    """The area that a polygon of x, y, x, y, ... encloses, in px² (the shoelace formula); 0 where
    it is none.
    """
    x, y = np.array(polygon[0::2], np.float64), np.array(polygon[1::2], np.float64)
    usable = len(x) == len(y) and np.isfinite(x).all() and np.isfinite(y).all()
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2) if usable else 0.0


def decode_rle(counts: str) -> list[int]:
    """The run lengths of COCO's text: 5 bits a character, the sixth telling that more follow, from
    the third on as differences. Raises ValueError.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its run lengths hold the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run lengths end within a number")
    return runs

"""A mask that is drawn from the annotations of a file."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from limner.data.image_file import MAX_PIXELS
from limner.data.images import image_size
from limner.data.mask_pixels import MaskPixels
from limner.data.shapes.part import ShapePart
from limner.data.shapes.rules import CUT, RULES, SMALLEST_ON_TOP
from limner.data.views import Box
from limner.errors import LimnerError
from limner.labels import VOID


@dataclass(frozen=True, slots=True)
class AnnotationMask:
    """A mask that is drawn from the annotations of a file, in the order in which they stand.

    Args:
        file: The annotation file.
        image_name: The image's name in it.
        size_px: Height and width, as the file states them; None where it states none. Then they
            are the image's.
        shapes: JSON of [class index, shape] pairs, as text so that a sample stays hashable. The
            class index of void is `VOID`.
        rule: The tool whose shapes they are, of `shapes.rules.RULES`.
        box: The part of the image that the mask is of; None for all of it.
    """

    file: Path
    image_name: str
    size_px: tuple[int, int] | None
    shapes: str
    rule: str = "COCO"
    box: Box | None = None

    def __str__(self) -> str:
        return f"{self.file} ({self.image_name})"

    @property
    def sha256(self) -> bytes:
        """Of the shapes that it is drawn from."""
        place = "" if self.box is None else str(tuple(self.box))
        return hashlib.sha256(self.shapes.encode() + place.encode()).digest()

    def within(self, boxes: Sequence[Box]) -> "list[AnnotationMask]":
        """Give the masks of parts of the image, each with the shapes that reach into it.

        Raises LimnerError where an annotation is malformed.
        """
        if not self.is_cut:
            return [replace(self, box=box) for box in boxes]
        with self._naming_errors():
            shapes = [(class_index, shape) for class_index, shape in json.loads(self.shapes)]
            cut = list(CUT[self.rule](shapes, boxes))
        return [
            replace(self, size_px=(box.height, box.width), shapes=json.dumps(inside))
            for box, inside in zip(boxes, cut, strict=True)
        ]

    @property
    def is_cut(self) -> bool:
        """Whether parts are cut from the shapes, so that all of the mask is never drawn."""
        return self.rule in CUT

    def class_indices(self) -> set[int]:
        """The classes of the shapes."""
        return {class_index for class_index, _ in json.loads(self.shapes)}

    def read(self, image: Path) -> MaskPixels:
        """Draw the mask of an image. Raises LimnerError where an annotation is malformed."""
        size_px = self.size_px or image_size(image)
        if not 0 < size_px[0] * size_px[1] <= MAX_PIXELS:
            raise LimnerError(
                f"{self} claims {size_px[1]}x{size_px[0]} pixels. From 1 to {MAX_PIXELS:,} are "
                "drawn: mend the size in the annotation file."
            )
        mask = np.zeros(size_px, np.uint8)
        for class_index, part in self._parts(size_px):
            part.paint(mask, class_index)
        if self.box is not None:
            mask = self.box.crop(mask)
        void = mask == VOID
        return MaskPixels(mask, "grey", void=void if void.any() else None)

    def _parts(self, size_px: tuple[int, int]) -> list[tuple[int, ShapePart]]:
        """The shapes with their classes, in the order in which they are painted."""
        parts: list[tuple[int, ShapePart]] = []
        for class_index, shape in json.loads(self.shapes):
            with self._naming_errors():
                parts.append((class_index, RULES[self.rule](shape, size_px)))
        if self.rule in SMALLEST_ON_TOP:
            parts.sort(key=lambda item: -int(item[1].pixels.sum()))
        return parts

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        """Turn every failure to draw a shape into a LimnerError that names the file."""
        try:
            yield
        except LimnerError:
            raise
        # Hostile annotations may raise anything
        except Exception as error:
            raise LimnerError(
                f"{self} has an annotation that cannot be drawn ({error}). It must be a shape as "
                f"{self.rule} writes them: mend it there, and export it again."
            ) from error

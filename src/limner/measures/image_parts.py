"""The parts of one image: in memory, or of a mask that is read part by part."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.images import read_values
from limner.data.large_images import LargeImage, open_large_image
from limner.data.readers.pixel_size import PixelSize
from limner.data.views import Box
from limner.errors import LimnerError
from limner.inference.predict_file import large_masks_hold_classes
from limner.labels import Labels
from limner.measures.large_parts import FoundPart, cut_part, find_parts
from limner.measures.parts import label_parts, measure_parts
from limner.measures.table import Table, join_tables
from limner.review.predictions import Entry, Predictions

MOST_PART_PIXELS = 50_000_000
"""A part whose box has more pixels is measured by its area and its place alone."""


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The measures of the connected parts of one image."""

    table: Table
    """A row for each part: its class, its number in the image, and its measures."""
    size_px: tuple[int, int]
    size: PixelSize | None
    without_intensities: str = ""
    """Why the image's intensities are not measured."""
    too_large: int = 0
    """How many parts are measured by area and place alone."""


def measure_image(predictions: Predictions, entry: Entry, size: PixelSize | None) -> ImageParts:
    """Measure the parts of one mask.

    Args:
        predictions: The folder of masks.
        entry: One of them.
        size: Of a pixel, in the unit of the tables.

    Raises:
        LimnerError: The mask cannot be read, or has another size than its image.
    """
    mask = open_large_image(entry.mask) if isinstance(entry.mask, Path) else None
    if mask is not None:
        return _measure_large(predictions, entry, mask, size)
    class_index = predictions.mask(entry)
    size_px = class_index.shape[0], class_index.shape[1]
    values, cause = _read_values(predictions, entry, size_px)
    table = measure_mask(class_index, predictions.labels, values, size)
    return ImageParts(table, size_px, size, cause)


def measure_mask(
    class_index: UInt8[ndarray, "h w"],
    labels: Labels,
    values: Shaped[ndarray, "h w c"] | None = None,
    size: PixelSize | None = None,
) -> Table:
    """Measure the connected parts of the scored classes of a mask.

    Args:
        class_index: The mask.
        labels: Its classes.
        values: Of the image's channels, for the intensities.
        size: Of a pixel; without it there are measures in pixels alone.

    Returns a row for each part: its class, its number, and what `measure_parts` gives.
    """
    codes = _codes(labels)[class_index]
    size_px = codes.shape[0], codes.shape[1]
    parts = label_parts(codes)
    numbers, places = np.unique(parts, return_index=True)
    part_codes = codes.ravel()[places[numbers > 0]]
    columns = measure_parts(parts, values, size, Box(0, 0, *size_px), size_px)
    return _named(part_codes, columns, labels)


def _codes(labels: Labels) -> UInt8[ndarray, "256"]:
    """The code of each class index: 0 for what is not measured, else the index and 1."""
    codes = np.zeros(256, np.uint8)
    for index in labels.scored:
        codes[index] = index + 1
    return codes


def _named(codes: UInt8[ndarray, " n"], columns: Table, labels: Labels) -> Table:
    """Put class and number before the measures."""
    names = np.array(["", *labels.names])
    return {"class": names[codes], "part": np.arange(1, len(codes) + 1)} | columns


def _read_values(
    predictions: Predictions, entry: Entry, size_px: tuple[int, int]
) -> tuple[Shaped[ndarray, "h w c"] | None, str]:
    """The values of the image; None and the cause where it is gone or another one."""
    try:
        with predictions.image_file(entry) as path:
            values = read_values(path, page=entry.page)
    except LimnerError as error:
        return None, str(error)
    _require_size(entry, size_px, values.shape[:2])
    return values, ""


def _require_size(entry: Entry, mask_px: tuple[int, int], image_px: tuple[int, ...]) -> None:
    if image_px != mask_px:
        raise LimnerError(
            f"{entry.mask} has {mask_px[1]}x{mask_px[0]} pixels, and its image {entry.image} "
            f"{image_px[1]}x{image_px[0]}. Predict again, or correct the pair."
        )


def _measure_large(
    predictions: Predictions, entry: Entry, mask: LargeImage, size: PixelSize | None
) -> ImageParts:
    labels, code_of = predictions.labels, _codes(predictions.labels)

    def read_codes(box: Box) -> UInt8[ndarray, "h w"]:
        pixels = np.ascontiguousarray(mask.read(box)[..., 0])
        return code_of[pixels if large_masks_hold_classes(labels) else labels.from_pixels(pixels)]

    found = find_parts(read_codes, mask.size_px)
    image, cause = _open_image(predictions, entry)
    if image is not None:
        _require_size(entry, mask.size_px, image.size_px)
    whole = _Whole(read_codes, image, mask.size_px)
    columns = join_tables([_nothing(whole, size), *(whole.measure(part, size) for part in found)])
    too_large = sum(is_too_large(part) for part in found)
    part_codes = np.array([part.code for part in found], np.uint8)
    return ImageParts(_named(part_codes, columns, labels), mask.size_px, size, cause, too_large)


def _open_image(predictions: Predictions, entry: Entry) -> tuple[LargeImage | None, str]:
    """The image of a large mask; None and the cause where no part of it can be read."""
    try:
        with predictions.image_file(entry) as path:
            image = open_large_image(path)
    except LimnerError as error:
        return None, str(error)
    return image, "" if image else f"{entry.image} cannot be read part by part"


@dataclass(frozen=True, slots=True)
class _Whole:
    """A mask and its image, of which parts are read."""

    read_codes: Callable[[Box], UInt8[ndarray, "h w"]]
    image: LargeImage | None
    size_px: tuple[int, int]

    def measure(self, part: FoundPart, size: PixelSize | None) -> Table:
        if is_too_large(part):
            return _area_and_place(part, self.size_px)
        inside = cut_part(self.read_codes(part.box), part)
        return measure_parts(
            inside.astype(np.uint8), self.values(part.box), size, part.box, self.size_px
        )

    def values(self, box: Box) -> UInt8[ndarray, "h w c"] | None:
        """The values of a part of the image."""
        return (
            None if self.image is None else self.image.read(box)[..., : self.image.stored_channels]
        )


def is_too_large(part: FoundPart) -> bool:
    """Whether a part is measured by its area and its place alone."""
    return part.box.height * part.box.width > MOST_PART_PIXELS


def _area_and_place(part: FoundPart, size_px: tuple[int, int]) -> Table:
    top, left, bottom, right = part.box.edges
    touches = top == 0 or left == 0 or bottom == size_px[0] or right == size_px[1]
    edges = {"top_px": top, "left_px": left, "bottom_px": bottom, "right_px": right}
    columns = {"area_px": part.area_px, **edges, "touches_border": touches}
    return {name: np.array([value]) for name, value in columns.items()}


def _nothing(whole: _Whole, size: PixelSize | None) -> Table:
    """All columns, and no row."""
    box = Box(0, 0, 1, 1)
    return measure_parts(np.zeros((1, 1), np.uint8), whole.values(box), size, box, whole.size_px)

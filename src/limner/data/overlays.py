"""The pictures a person looks at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.image_pixels import to_rgb
from limner.labels import ORANGE, PINK, SKY_BLUE, VOID, Labels

CELL_PX = 224
COLUMNS = 6
FALSE, MISSED, CONFUSED = ORANGE, SKY_BLUE, PINK
"""The colours of errors."""


def draw_overlay(
    image: UInt8[ndarray, "h w 3"], class_index: UInt8[ndarray, "h w"], labels: Labels
) -> UInt8[ndarray, "h w 3"]:
    """The image with each scored class tinted and outlined in its colour."""
    picture = image.astype(np.float32)
    for index in labels.scored:
        inside = class_index == index
        colour = np.array(labels.colour(index), np.float32)
        picture[inside] = 0.75 * picture[inside] + 0.25 * colour
        picture[_outline(inside)] = colour
    return picture.astype(np.uint8)


def draw_errors(
    image: UInt8[ndarray, "h w 3"],
    prediction: UInt8[ndarray, "h w"],
    truth: UInt8[ndarray, "h w"],
    labels: Labels,
) -> UInt8[ndarray, "h w 3"]:
    """The image in grey, with what was drawn but is not there, what is there but was not drawn, and
    what was taken for another class; void is dark.
    """
    grey = image.astype(np.float32).mean(2, keepdims=True).repeat(3, axis=2)
    drawn, there = np.isin(prediction, labels.scored), np.isin(truth, labels.scored)
    for wrong, colour in (
        (drawn & ~there, FALSE),
        (there & ~drawn, MISSED),
        (drawn & there & (prediction != truth), CONFUSED),
    ):
        grey[wrong & (truth != VOID)] = colour
    grey[truth == VOID] *= 0.3
    return grey.astype(np.uint8)


def contact_sheet(pictures: Sequence[UInt8[ndarray, "_ _ 3"]]) -> UInt8[ndarray, "h2 w2 3"]:
    """Pictures in rows of six, each fitted into a square cell."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(pictures)) * CELL_PX, rows * CELL_PX), (24, 24, 24))
    for index, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels)
        picture.thumbnail((CELL_PX - 4, CELL_PX - 4))
        left, top = index % COLUMNS * CELL_PX, index // COLUMNS * CELL_PX
        sheet.paste(
            picture, (left + (CELL_PX - picture.width) // 2, top + (CELL_PX - picture.height) // 2)
        )
    return np.asarray(sheet)


def shrink_pair(
    image: UInt8[ndarray, "h w c"], class_index: UInt8[ndarray, "h3 w3"], side_px: int = CELL_PX - 4
) -> tuple[UInt8[ndarray, "h2 w2 3"], UInt8[ndarray, "h2 w2"]]:
    """Image, as colours, and mask with a longer side of a cell's, so that outlines stay one pixel
    wide; a JPEG may have been read at a reduced scale.
    """
    factor = side_px / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = Image.fromarray(to_rgb(image)).resize(
        size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    )
    return np.asarray(small), np.asarray(
        Image.fromarray(class_index).resize(size, Image.Resampling.NEAREST)
    )


def _outline(inside: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    padded = np.pad(inside, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core

"""Draw masks and errors onto images, and images onto contact sheets."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from limner.data.image_pixels import to_rgb
from limner.labels import ORANGE, PINK, SKY_BLUE, VOID, Labels

CELL_PX = 224
THUMBNAIL_PX = CELL_PX - 4
COLUMNS = 6
CAPTION_PX, FONT_PX = 22, 13
"""The height of a caption below a cell, and of its letters."""
BACKGROUND = (24, 24, 24)
FALSE_POSITIVE, FALSE_NEGATIVE, CONFUSED = ORANGE, SKY_BLUE, PINK
"""The colours of errors."""
LIGHT, FAINT = (255, 255, 255), (170, 170, 170)
TINT = 0.25
"""How much of a pixel is the colour of its class."""


def draw_overlay(
    image: UInt8[ndarray, "h w 3"], class_index: UInt8[ndarray, "h w"], labels: Labels
) -> UInt8[ndarray, "h w 3"]:
    """Tint and outline each scored class in its colour.

    A light edge lies around it, so that the outline is seen on every colour.
    """
    keep, tint = np.ones((256, 1), np.float32), np.zeros((256, 3), np.float32)
    outline = np.full((256, 3), LIGHT, np.uint8)
    for index in labels.scored:
        keep[index], tint[index] = 1 - TINT, TINT * np.array(labels.colour(index), np.float32)
        outline[index] = labels.colour(index)
    drawn = np.where(np.isin(class_index, labels.scored), class_index, np.uint8(VOID))
    overlay = (image * keep[drawn] + tint[drawn]).astype(np.uint8)
    is_edge = touches_another(drawn)
    overlay[is_edge] = outline[drawn[is_edge]]
    return overlay


def draw_errors(
    image: UInt8[ndarray, "h w 3"],
    prediction: UInt8[ndarray, "h w"],
    truth: UInt8[ndarray, "h w"],
    labels: Labels,
) -> UInt8[ndarray, "h w 3"]:
    """Draw the errors of a prediction onto the image in grey; void is dark.

    False positives, false negatives, and pixels of a wrong class have a colour each.
    """
    overlay = image.astype(np.float32).mean(2, keepdims=True).repeat(3, axis=2)
    is_predicted = np.isin(prediction, labels.scored)
    is_true = np.isin(truth, labels.scored)
    for is_wrong, colour in (
        (is_predicted & ~is_true, FALSE_POSITIVE),
        (is_true & ~is_predicted, FALSE_NEGATIVE),
        (is_predicted & is_true & (prediction != truth), CONFUSED),
    ):
        overlay[is_wrong & (truth != VOID)] = colour
    overlay[truth == VOID] *= 0.3
    return overlay.astype(np.uint8)


def contact_sheet(
    images: Sequence[UInt8[ndarray, "_ _ 3"]], captions: Sequence[tuple[str, str]] = ()
) -> UInt8[ndarray, "h2 w2 3"]:
    """Lay images out in rows of `COLUMNS`, each fitted into a square cell.

    Args:
        images: Of any size.
        captions: What stands below each image, left and right; without any, there is no room for
            them. The left one is shortened in its middle where it is too long.
    """
    rows = -(-len(images) // COLUMNS)
    columns = min(COLUMNS, len(images))
    height_px = CELL_PX + (CAPTION_PX if captions else 0)
    sheet = Image.new("RGB", (columns * CELL_PX, rows * height_px), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for index, pixels in enumerate(images):
        thumbnail = Image.fromarray(pixels)
        thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        row, column = divmod(index, COLUMNS)
        left, top = column * CELL_PX, row * height_px
        place = (CELL_PX - thumbnail.width) // 2, (CELL_PX - thumbnail.height) // 2
        sheet.paste(thumbnail, (left + place[0], top + place[1]))
        if captions:
            name, note = captions[index]
            note_px = math.ceil(draw.textlength(note, font))
            shown = _shorten(name, lambda text: draw.textlength(text, font), CELL_PX - note_px - 16)
            draw.text((left + 4, top + CELL_PX), shown, LIGHT, font)
            draw.text((left + CELL_PX - note_px - 4, top + CELL_PX), note, FAINT, font)
    return np.asarray(sheet)


def _shorten(text: str, width: Callable[[str], float], limit: float) -> str:
    """A text with as much of its middle left out as makes it no wider than a limit."""
    if width(text) <= limit:
        return text
    for kept in range(len(text) - 1, 0, -1):
        shorter = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
        if width(shorter) <= limit:
            return shorter
    return "…"


def shrink_pair(
    image: UInt8[ndarray, "h w c"],
    class_index: UInt8[ndarray, "h3 w3"],
    side_px: int = THUMBNAIL_PX,
) -> tuple[UInt8[ndarray, "h2 w2 3"], UInt8[ndarray, "h2 w2"]]:
    """Resize an image and its mask for an overlay, so that outlines stay one pixel wide.

    Args:
        image: Any channels; RGB is returned.
        class_index: May have another size, since a JPEG may be read at a reduced scale.
        side_px: The longer side of both; a cell's where it is left out.
    """
    factor = side_px / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    image_filter = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    small_image = Image.fromarray(to_rgb(image)).resize(size, image_filter)
    small_mask = Image.fromarray(class_index).resize(size, Image.Resampling.NEAREST)
    return np.asarray(small_image), np.asarray(small_mask)


def outline_of(inside: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Find the pixels inside that touch one outside; the image's edge does not count as outside."""
    return inside & touches_another(inside)


def touches_another(values: Shaped[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Find the pixels that have another value than one above, below, left or right of them."""
    found = np.zeros(values.shape, np.bool_)
    below, right = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    found[1:] |= below
    found[:-1] |= below
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found

"""The page of a label audit: the masks that are likeliest to be wrong, as pictures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.html_page import css_colour, embed_jpeg, render_page
from limner.data.overlays import outline_of, shrink_pair
from limner.inference.audit_record import AuditedMask
from limner.inference.label_evidence import Box
from limner.labels import ORANGE, SKY_BLUE, VOID, Labels

GIVEN, PREDICTED, PLACE = ORANGE, SKY_BLUE, (255, 255, 255)
PICTURE_PX = 360
ZOOM_BELOW = 0.4
"""A place that takes a smaller share of the image's longer side is shown enlarged too."""
MARGIN = 0.75
"""Around an enlarged place, in its own lengths."""
MIN_ZOOM_PX = 48


@dataclass(frozen=True, slots=True)
class AuditPicture:
    """What is drawn of one mask."""

    mask: AuditedMask
    image: UInt8[ndarray, "h w c"]
    given: UInt8[ndarray, "h w"]
    predicted: UInt8[ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class _Entry:
    mask: AuditedMask
    pictures: Sequence[str]
    """JPEGs in base64: the whole image, and the place enlarged where it is small."""


def render_audit(
    name: str,
    folder: str,
    masks: Sequence[AuditedMask],
    pictures: Iterable[AuditPicture],
    labels: Labels,
) -> str:
    """Render the page.

    Args:
        name: Of the dataset.
        folder: Of the audit, as people type it.
        masks: All of them, the likeliest to be wrong first.
        pictures: Of the first ones, in their order.
        labels: The classes of the masks.
    """
    entries = [_Entry(picture.mask, list(_draw(picture, labels))) for picture in pictures]
    return render_page(
        "limner.inference",
        "audit_page.html",
        name=name,
        folder=folder,
        masks=masks,
        entries=entries,
        kinds=Counter(entry.mask.kind for entry in entries).most_common(),
        given=css_colour(GIVEN),
        predicted=css_colour(PREDICTED),
        several=len(labels.scored) > 1,
    )


def _draw(picture: AuditPicture, labels: Labels) -> Iterator[str]:
    box = picture.mask.box
    height, width = picture.given.shape
    yield embed_jpeg(_overlay(picture, (0, 0, height, width), labels, box))
    if box is None:
        return
    top, left, bottom, right = box
    side = max(bottom - top, right - left)
    if side < ZOOM_BELOW * max(height, width):
        margin = max(round(MARGIN * side), (MIN_ZOOM_PX - side) // 2)
        part = (
            max(top - margin, 0),
            max(left - margin, 0),
            min(bottom + margin, height),
            min(right + margin, width),
        )
        yield embed_jpeg(_overlay(picture, part, labels, None))


def _overlay(
    picture: AuditPicture, part: Box, labels: Labels, place: Box | None
) -> UInt8[ndarray, "h w 3"]:
    """A part of the image with both outlines, and a frame around the place."""
    top, left, bottom, right = part
    rows, columns = slice(top, bottom), slice(left, right)
    image, given = shrink_pair(
        picture.image[rows, columns], picture.given[rows, columns], PICTURE_PX
    )
    _, predicted = shrink_pair(
        picture.image[rows, columns], picture.predicted[rows, columns], PICTURE_PX
    )
    overlay = image.copy()
    if place is not None:
        scale = image.shape[0] / (bottom - top)
        overlay[_frame(place, scale, overlay.shape[:2])] = PLACE
    for index in labels.scored:
        overlay[outline_of(predicted == index)] = PREDICTED
        overlay[outline_of(given == index)] = GIVEN
    overlay[given == VOID] //= 3
    return overlay


def _frame(box: Box, scale: float, size_px: tuple[int, ...]) -> Bool[ndarray, "h w"]:
    inside = np.zeros(size_px, bool)
    top, left, bottom, right = (round(edge * scale) for edge in box)
    inside[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = True
    return outline_of(inside)

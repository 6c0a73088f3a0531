"""Supervisely's polygons and bitmaps, as Supervisely itself draws them.

A polygon has its border, and a hole takes its own border away.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image

from limner.data.image_file import MAX_PIXELS
from limner.data.shapes.bordered import draw_bordered_polygon
from limner.data.shapes.part import ShapePart, part_in_box

AREA_KINDS = frozenset({"polygon", "bitmap", "rectangle"})
"""Kinds of objects that cover an area."""
PNG_START = b"\x89PNG"


def draw_supervisely_object(item: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw an object.

    Args:
        item: Its `geometryType`, and its `points` or its `bitmap`.
        size_px: Height and width of the image.

    Raises ValueError for a kind without an area, and for a bitmap outside of the image; a malformed
    object may raise anything.
    """
    kind = item["geometryType"]
    if kind == "bitmap":
        return _bitmap_part(item["bitmap"], size_px)
    exterior = item["points"]["exterior"]
    if kind == "rectangle":
        (left, top), (right, bottom) = exterior
        exterior = [[left, top], [right, top], [right, bottom], [left, bottom]]
    elif kind != "polygon":
        raise ValueError(f"a {kind} covers no area")
    mask = np.zeros(size_px, np.uint8)
    draw_bordered_polygon(_whole(exterior), size_px).paint(mask, 1)
    for hole in item["points"].get("interior") or ():
        draw_bordered_polygon(_whole(hole), size_px).paint(mask, 0)
    return ShapePart(0, 0, mask > 0)


def _whole(points: Sequence[Sequence[int | float]]) -> ndarray:
    """Coordinates without their fractions."""
    whole = np.array(points, np.float64).reshape(-1, 2)
    if len(whole) < 3:
        raise ValueError(f"a polygon has {len(whole)} points, and needs 3")
    return whole.astype(np.int64)


def _bitmap_part(bitmap: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    pixels = _decode(bitmap["data"])
    left, top = bitmap["origin"]
    return part_in_box(int(top), int(left), pixels, size_px)


def _decode(text: str) -> Bool[ndarray, "h w"]:
    """The pixels of a PNG, which may be packed by zlib; alpha counts where there is any."""
    data = base64.b64decode(text)
    if not data.startswith(PNG_START):
        # A PNG of one object is small; what unpacks to far more is none
        data = zlib.decompressobj().decompress(data, MAX_PIXELS)
    with Image.open(io.BytesIO(data), formats=["PNG"]) as file:
        if file.mode == "RGBA":
            return np.asarray(file)[..., 3] > 0
        values = np.asarray(file.convert("RGB") if file.mode == "P" else file)
    return np.asarray(values.any(-1) if values.ndim == 3 else values > 0)

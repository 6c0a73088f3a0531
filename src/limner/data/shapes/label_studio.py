"""Label Studio's regions: polygons, rectangles and ellipses in per cent, and brush strokes.

Polygons are drawn as pycocotools draws them, since Label Studio's export to COCO is how they become
masks. A brush is exact: run lengths of its RGBA pixels, of which alpha counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.shapes.coco import draw_segmentation
from limner.data.shapes.outlines import ellipse_polygon, rectangle_polygon
from limner.data.shapes.part import ShapePart

AREA_KINDS = frozenset({"polygon", "rectangle", "ellipse", "brush"})
"""Regions that cover an area. Their types may end in "labels"."""


def region_kind(region: Mapping[str, Any]) -> str:
    """The kind of a region, such as "polygon" of the type "polygonlabels"."""
    return str(region.get("type", "")).removesuffix("labels")


def draw_label_studio_region(region: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Draw a region.

    Args:
        region: Its `type` and `value`.
        size_px: Height and width of the image.

    Raises ValueError for a kind without an area, a polygon of fewer than three points, and run
    lengths of another size; a malformed region may raise anything.
    """
    kind, value = region_kind(region), region["value"]
    height, width = size_px
    scale = np.array([width, height]) / 100
    if kind == "brush":
        return ShapePart(0, 0, decode_brush(value["rle"], size_px)[..., 3] > 0)
    if kind == "polygon":
        polygon = (np.array(value["points"], np.float64) * scale).ravel().tolist()
    elif kind == "rectangle":
        corner = scale * (value["x"], value["y"])
        size = scale * (value["width"], value["height"])
        polygon = rectangle_polygon(tuple(corner), tuple(size), float(value.get("rotation") or 0))
    elif kind == "ellipse":
        centre = scale * (value["x"], value["y"])
        radii = scale * (value["radiusX"], value["radiusY"])
        polygon = ellipse_polygon(tuple(centre), tuple(radii), float(value.get("rotation") or 0))
    else:
        raise ValueError(f"a region of the kind {kind!r} covers no area")
    return draw_segmentation([polygon], size_px)


def decode_brush(data: Sequence[int], size_px: tuple[int, int]) -> UInt8[ndarray, "h w 4"]:
    """Decode the run lengths of a brush into its RGBA pixels.

    The bits are: 32 for how many values there are, 5 for the bits of a value, 4 for each of four
    lengths of run lengths, each less one. Then come runs: a bit that says whether one value is
    repeated, two that choose the length of the run length, the run length less one, and the value
    or the values.

    Args:
        data: Bytes as numbers.
        size_px: Height and width of the image.

    Raises ValueError where they are of another size, or end too soon.
    """
    bits = _Bits(bytes(data))
    count = bits.read(32)
    if count != 4 * size_px[0] * size_px[1]:
        raise ValueError(
            f"a brush of {count // 4} pixels is not of its image's {size_px[1]}x{size_px[0]}"
        )
    value_bits = bits.read(5) + 1
    run_bits = [bits.read(4) + 1 for _ in range(4)]
    values, position = np.zeros(count, np.uint8), 0
    while position < count:
        repeated = bits.read(1)
        end = position + 1 + bits.read(run_bits[bits.read(2)])
        if end > count:
            raise ValueError("the run lengths of a brush cover more than its image")
        if repeated:
            values[position:end] = bits.read(value_bits) & 0xFF
        else:
            for index in range(position, end):
                values[index] = bits.read(value_bits) & 0xFF
        position = end
    return values.reshape(*size_px, 4)


class _Bits:
    """Reads numbers of so many bits, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data + bytes(8), 0
        self._end = 8 * len(data)

    def read(self, count: int) -> int:
        """Read the next number. Raises ValueError behind the end."""
        start, self._position = self._position, self._position + count
        if self._position > self._end:
            raise ValueError("the run lengths of a brush end too soon")
        window = int.from_bytes(self._data[start >> 3 : (start >> 3) + 8], "big")
        return (window >> (64 - (start & 7) - count)) & ((1 << count) - 1)

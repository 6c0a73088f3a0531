"""The connected parts of a mask that is read band by band, since it may be larger than memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8
from numpy import ndarray

from limner.data.views import Box
from limner.measures.parts import label_parts

BAND_ROWS = 1024

ReadCodes = Callable[[Box], UInt8[ndarray, "h w"]]
"""Reads a part of a mask: a code for each class, and 0 for what is measured in no part."""


@dataclass(frozen=True, slots=True)
class FoundPart:
    """A connected part, and where it lies."""

    code: int
    area_px: int
    box: Box
    seed: tuple[int, int]
    """Row and column of one of its pixels."""


def find_parts(read: ReadCodes, size_px: tuple[int, int]) -> list[FoundPart]:
    """Find the connected parts of a mask, of which a band is in memory at a time.

    Args:
        read: Reads the mask.
        size_px: Its height and width.

    Returns:
        The parts from top to bottom.
    """
    height, width = size_px
    parts = _Parts()
    above = np.zeros(width, np.int64)
    codes_above = np.zeros(width, np.uint8)
    for top in range(0, height, BAND_ROWS):
        codes = read(Box(top, 0, min(BAND_ROWS, height - top), width))
        numbers = parts.add(codes, top)
        _join(parts, (above, codes_above), (numbers[0], codes[0]))
        above, codes_above = numbers[-1], codes[-1]
    return sorted(parts.merged(), key=lambda part: part.box[:2])


def _join(
    parts: "_Parts",
    upper: tuple[Int64[ndarray, " w"], UInt8[ndarray, " w"]],
    lower: tuple[Int64[ndarray, " w"], UInt8[ndarray, " w"]],
) -> None:
    """Join the parts of one class that touch along the seam of two bands, at corners too."""
    width = len(upper[0])
    for shift in (-1, 0, 1):
        here = slice(max(shift, 0), width + min(shift, 0))
        there = slice(max(-shift, 0), width + min(-shift, 0))
        touching = (upper[1][here] == lower[1][there]) & (upper[1][here] > 0)
        pairs = np.stack([upper[0][here][touching], lower[0][there][touching]], axis=1)
        for first, second in np.unique(pairs, axis=0).tolist():
            parts.join(first, second)


class _Parts:
    """Numbered parts, some of which turn out to be one (union-find)."""

    def __init__(self) -> None:
        self._parents = [0]
        self._found: list[FoundPart] = []

    def add(self, codes: UInt8[ndarray, "h w"], top: int) -> Int64[ndarray, "h w"]:
        """Add the parts of a band, and give their numbers there."""
        local = label_parts(codes)
        first = len(self._parents)
        for number, (box, area, seed) in enumerate(_describe(local), start=first):
            self._parents.append(number)
            moved = box._replace(top=box.top + top)
            code = int(codes[seed])
            self._found.append(FoundPart(code, area, moved, (seed[0] + top, seed[1])))
        return np.where(local > 0, local.astype(np.int64) + first - 1, 0)

    def join(self, first: int, second: int) -> None:
        roots = sorted({self._root(first), self._root(second)})
        self._parents[roots[-1]] = roots[0]

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def merged(self) -> list[FoundPart]:
        """The parts, each once."""
        whole: dict[int, FoundPart] = {}
        for number, part in enumerate(self._found, start=1):
            root = self._root(number)
            whole[root] = _unite(whole[root], part) if root in whole else part
        return list(whole.values())


def _describe(
    numbers: Integer[ndarray, "h w"],
) -> Iterator[tuple[Box, int, tuple[int, int]]]:
    """The box, the area and a pixel of each part, in the order of the numbers."""
    from scipy import ndimage

    flat = numbers.ravel()
    areas = np.bincount(flat)
    present, first_places = np.unique(flat, return_index=True)
    seeds = dict(zip(present.tolist(), first_places.tolist(), strict=True))
    for number, slices in enumerate(ndimage.find_objects(numbers), start=1):
        rows, columns = slices
        box = Box.from_edges(rows.start, columns.start, rows.stop, columns.stop)
        yield box, int(areas[number]), divmod(seeds[number], numbers.shape[1])


def _unite(one: FoundPart, other: FoundPart) -> FoundPart:
    top, left = min(one.box.top, other.box.top), min(one.box.left, other.box.left)
    bottom, right = (max(one.box.edges[i], other.box.edges[i]) for i in (2, 3))
    box = Box.from_edges(top, left, bottom, right)
    return FoundPart(one.code, one.area_px + other.area_px, box, one.seed)


def cut_part(codes: UInt8[ndarray, "h w"], part: FoundPart) -> Bool[ndarray, "h w"]:
    """Find the pixels of a part in its box, where others may lie too."""
    numbers = label_parts(codes)
    row, column = part.seed[0] - part.box.top, part.seed[1] - part.box.left
    inside: Bool[ndarray, "h w"] = numbers == numbers[row, column]
    return inside

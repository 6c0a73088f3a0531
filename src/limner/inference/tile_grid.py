"""The grid of exact tiles: cores that cover an image, each within its halo."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from limner.data.views import Box
from limner.inference.engines import ReceptiveField

CORE_PX = 768
"""Side of a tile's core, unless the halo is wider.

A smaller core would be mostly overlap, a larger one needs more memory.
"""


WHOLE_PIXELS = 2_000_000
"""An image of at most so many pixels is one tile."""


@dataclass(frozen=True, order=True, slots=True)
class Strip:
    """One of so many parts of an image, from top to bottom: some rows of its tiles."""

    index: int = 0
    count: int = 1


WHOLE = Strip()


class TileCell(NamedTuple):
    """One tile of the grid."""

    box: Box
    """Its core in the image."""
    outer: Box
    """Core and halo, in the padded image."""
    core: Box
    """The core within `outer`."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How an image is cut into exact tiles.

    The image is padded to sides that are multiples of the stride, which mirrored and rotated tiles
    need too. The padding repeats the edge.
    """

    image_px: tuple[int, int]
    before: tuple[int, int]
    """Padding above and to the left of the image."""
    padded_px: tuple[int, int]
    halo_px: int
    cores: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    """Where cores begin and end on the padded image, along rows and along columns."""

    @property
    def is_single(self) -> bool:
        """Whether the whole image is one tile."""
        return len(self.cores[0]) == len(self.cores[1]) == 1

    @property
    def core_rows(self) -> list[tuple[int, int]]:
        """Where rows of tiles begin and end on the padded image, without those in the padding."""
        first = self.cores[1][0]
        return [rows for rows in self.cores[0] if self._cell(rows, first).box.height > 0]

    @property
    def rows_px(self) -> tuple[int, int]:
        """The rows of the padded image that the tiles are computed from: the first, and the end."""
        rows = self.core_rows
        return max(0, rows[0][0] - self.halo_px), min(self.padded_px[0], rows[-1][1] + self.halo_px)

    def strip(self, strip: Strip) -> "TileGrid":
        """Some rows of the tiles, at least one where there are as many as strips."""
        rows = self.core_rows
        first, end = (len(rows) * index // strip.count for index in (strip.index, strip.index + 1))
        return replace(self, cores=(rows[first:end], self.cores[1]))

    def cells(self) -> Iterator[TileCell]:
        """Yield the tiles row by row, without those that lie wholly in the padding."""
        for rows in self.cores[0]:
            for columns in self.cores[1]:
                cell = self._cell(rows, columns)
                if cell.box.height > 0 and cell.box.width > 0:
                    yield cell

    def _cell(self, rows: tuple[int, int], columns: tuple[int, int]) -> TileCell:
        (top, bottom), (left, right) = rows, columns
        outer = Box.from_edges(
            max(0, top - self.halo_px),
            max(0, left - self.halo_px),
            min(self.padded_px[0], bottom + self.halo_px),
            min(self.padded_px[1], right + self.halo_px),
        )
        before_top, before_left = self.before
        box = Box.from_edges(
            max(0, top - before_top),
            max(0, left - before_left),
            min(self.image_px[0], bottom - before_top),
            min(self.image_px[1], right - before_left),
        )
        core = Box(
            box.top + before_top - outer.top,
            box.left + before_left - outer.left,
            box.height,
            box.width,
        )
        return TileCell(box, outer, core)


def plan_tiles(
    image_px: tuple[int, int], size_px: tuple[int, int], receptive_field: ReceptiveField
) -> TileGrid:
    """Plan the tiles of an image; `size_px` is the working size, which padded sides reach."""
    assert receptive_field.halo_px is not None
    stride = receptive_field.stride
    halo_px = _round_up(receptive_field.halo_px, stride)
    heights, widths = zip(image_px, size_px, strict=True)
    padded_px = (_padded_side(*heights, stride), _padded_side(*widths, stride))
    core_px = max(CORE_PX, halo_px) // stride * stride
    if padded_px[0] * padded_px[1] <= WHOLE_PIXELS:
        core_px = max(padded_px)
    return TileGrid(
        image_px,
        (max(0, size_px[0] - image_px[0]) // 2, max(0, size_px[1] - image_px[1]) // 2),
        padded_px,
        halo_px,
        (_cores(padded_px[0], core_px, stride), _cores(padded_px[1], core_px, stride)),
    )


def _padded_side(image_px: int, size_px: int, stride: int) -> int:
    return _round_up(max(image_px, size_px, 2 * stride), stride)


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _cores(side_px: int, core_px: int, stride: int) -> list[tuple[int, int]]:
    """Cut an axis into as few cores as possible, all of one size but the last."""
    count = -(-side_px // core_px)
    step = -(-side_px // (count * stride)) * stride
    return [(start, min(start + step, side_px)) for start in range(0, side_px, step)]

"""The grid of exact tiles: cores that cover an image, each within its halo."""

from collections.abc import Iterator, Sequence
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
MIN_HALOS = 16
"""A strip of columns has at least the width of so many halos."""


@dataclass(frozen=True, order=True, slots=True)
class Strip:
    """One of so many parts of an axis: some rows of an image's tiles, or some columns."""

    index: int = 0
    count: int = 1


class GridPart(NamedTuple):
    """Some of an image's tiles; by default all."""

    rows: Strip = Strip()
    columns: Strip = Strip()


WHOLE = GridPart()


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
        return [rows for rows in self.cores[0] if self._cell(rows, self.cores[1][0]).box.height > 0]

    @property
    def core_columns(self) -> list[tuple[int, int]]:
        """Where columns of tiles begin and end, as `core_rows`."""
        first = self.core_rows[0]
        return [columns for columns in self.cores[1] if self._cell(first, columns).box.width > 0]

    @property
    def source(self) -> Box:
        """The part of the padded image that the tiles are computed from: they and their halo."""
        first, last = self._corners
        return _around(first.outer, last.outer)

    @property
    def box(self) -> Box:
        """Where the tiles lie in the image."""
        first, last = self._corners
        return _around(first.box, last.box)

    @property
    def _corners(self) -> tuple[TileCell, TileCell]:
        """The first tile and the last one."""
        rows, columns = self.core_rows, self.core_columns
        return self._cell(rows[0], columns[0]), self._cell(rows[-1], columns[-1])

    def part(self, part: GridPart) -> "TileGrid":
        """Some of the tiles: at least one where an axis has as many as strips."""
        return replace(
            self, cores=(_pick(self.core_rows, part.rows), _pick(self.core_columns, part.columns))
        )

    def count_columns(self, most_px: int) -> int:
        """In how many strips of columns the image is predicted, of about `most_px` at most.

        A strip is wide enough to be hardly halo.
        """
        strip_px = max(most_px, MIN_HALOS * self.halo_px)
        return min(len(self.core_columns), -(-self.image_px[1] // strip_px))

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


def _pick(cores: Sequence[tuple[int, int]], strip: Strip) -> list[tuple[int, int]]:
    first, end = (len(cores) * index // strip.count for index in (strip.index, strip.index + 1))
    return list(cores[first:end])


def _around(first: Box, last: Box) -> Box:
    """The box from the corner of one to that of another."""
    return Box.from_edges(first.top, first.left, last.top + last.height, last.left + last.width)


def _padded_side(image_px: int, size_px: int, stride: int) -> int:
    return _round_up(max(image_px, size_px, 2 * stride), stride)


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _cores(side_px: int, core_px: int, stride: int) -> list[tuple[int, int]]:
    """Cut an axis into as few cores as possible, all of one size but the last."""
    count = -(-side_px // core_px)
    step = -(-side_px // (count * stride)) * stride
    return [(start, min(start + step, side_px)) for start in range(0, side_px, step)]

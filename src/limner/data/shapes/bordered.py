"""A polygon with its border, between whole pixels: what OpenCV's fillPoly draws.

A pixel is drawn that a line between two corners touches, or whose corner lies within by the
even-odd rule. Lines are those of Bresenham (doi:10.1147/sj.41.0025), eight-connected, from left to
right, and cut at the image's border before they are drawn.
"""

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray

from limner.data.shapes.part import ShapePart, part_of_spans
from limner.data.shapes.scanline import Edges

FRACTION_BITS = 16
"""Of the fixed-point numbers in which a row's crossings are reckoned."""
Points = Int64[ndarray, "n 2"]
"""x, y in whole px."""


def draw_bordered_polygon(points: Points, size_px: tuple[int, int]) -> ShapePart:
    """Draw a polygon with its border.

    Args:
        points: The corners; the last is joined to the first.
        size_px: Height and width of the image.
    """
    starts, ends = np.roll(points, 1, axis=0), points
    cut_starts, cut_ends, visible = _cut_at_border(starts, ends, size_px)
    line_rows, line_columns = _line_pixels(cut_starts[visible], cut_ends[visible])
    rows, left, right = _edges(starts, ends, cut_starts, cut_ends).spans(size_px[0])
    return part_of_spans(
        np.concatenate([line_rows, rows]),
        np.concatenate([line_columns, -(-left >> FRACTION_BITS)]),
        np.concatenate([line_columns, right >> FRACTION_BITS]),
        size_px,
    )


def _edges(starts: Points, ends: Points, cut_starts: Points, cut_ends: Points) -> Edges:
    """The edges that cross rows; one that is cut has the slope that is left of it."""
    # A line that is cut to one row keeps its own rows, and moves to the border
    level = cut_starts[:, 1] == cut_ends[:, 1]
    start_y = np.where(level, starts[:, 1], cut_starts[:, 1])
    end_y = np.where(level, ends[:, 1], cut_ends[:, 1])
    start_x, end_x = cut_starts[:, 0] << FRACTION_BITS, cut_ends[:, 0] << FRACTION_BITS
    crossing = starts[:, 1] != ends[:, 1]
    slope = _divide(end_x - start_x, np.where(crossing, end_y - start_y, 1))
    down = starts[:, 1] < ends[:, 1]
    first = np.where(down, starts[:, 1], ends[:, 1])
    last = np.where(down, ends[:, 1], starts[:, 1])
    x, y = np.where(down, start_x, end_x), np.where(down, start_y, end_y)
    x = x + (first - y) * slope
    return Edges(first[crossing], last[crossing], x[crossing], slope[crossing])


def _line_pixels(starts: Points, ends: Points) -> tuple[Int64[ndarray, " m"], Int64[ndarray, " m"]]:
    """The rows and columns of all pixels of several lines."""
    leftwards = (ends[:, 0] < starts[:, 0])[:, None]
    starts, ends = np.where(leftwards, ends, starts), np.where(leftwards, starts, ends)
    (across, down), below = np.abs(ends - starts).T, ends[:, 1] >= starts[:, 1]
    length, minor = np.maximum(across, down), np.minimum(across, down)
    line = np.repeat(np.arange(len(length)), length + 1)
    step = np.arange(len(line)) - np.repeat(np.cumsum(length + 1) - length - 1, length + 1)
    # Halfway between two pixels the nearer to the line's start is taken
    whole = np.maximum(length, 1)[line]
    aside = (2 * minor[line] * step + whole - 1) // (2 * whole)
    flat = (across >= down)[line]
    columns = starts[line, 0] + np.where(flat, step, aside)
    rows = starts[line, 1] + np.where(below[line], 1, -1) * np.where(flat, aside, step)
    return rows, columns


def _cut_at_border(
    starts: Points, ends: Points, size_px: tuple[int, int]
) -> tuple[Points, Points, Bool[ndarray, " n"]]:
    """Cut lines at the image's border (Cohen and Sutherland), in whole pixels.

    Returns both ends, and which lines have a part in the image. A line that passes it by is cut at
    the borders that it crosses all the same.
    """
    border = np.array([size_px[1] - 1, size_px[0] - 1])
    ends_of_line = [starts.copy(), ends.copy()]
    if ((starts >= 0) & (starts <= border) & (ends >= 0) & (ends <= border)).all():
        return starts, ends, np.ones(len(starts), bool)
    for axis in (1, 0):
        before, after = (_sides(points, border) for points in ends_of_line)
        passes = ((before == after) & (before != 0)).any(1)
        for index in (0, 1):
            side = _sides(ends_of_line[index], border)[:, axis]
            # Only rows are cut while both axes may be outside
            moved = (side != 0) & ~passes
            _move_to_border(ends_of_line[index], ends_of_line[1 - index], moved, axis, border)
    before, after = (_sides(points, border) for points in ends_of_line)
    return ends_of_line[0], ends_of_line[1], ~((before != 0) | (after != 0)).any(1)


def _sides(points: Points, border: Int64[ndarray, "2"]) -> Int64[ndarray, "n 2"]:
    """On which side of the image points lie, by axis: -1 before it, 0 within, 1 behind."""
    return (points > border).astype(np.int64) - (points < 0)


def _move_to_border(
    points: Points,
    others: Points,
    moved: Bool[ndarray, " n"],
    axis: int,
    border: Int64[ndarray, "2"],
) -> None:
    """Move ends of lines along them onto the border of an axis."""
    target = np.where(points[moved, axis] < 0, 0, border[axis])
    along = others[moved, axis] - points[moved, axis]
    across = others[moved, 1 - axis] - points[moved, 1 - axis]
    shift = (target - points[moved, axis]) * across / along
    points[moved, 1 - axis] += np.trunc(shift).astype(np.int64)
    points[moved, axis] = target


def _divide(
    numerator: Int64[ndarray, " n"], denominator: Int64[ndarray, " n"]
) -> Int64[ndarray, " n"]:
    """Divide whole numbers and drop the fraction."""
    quotient = np.abs(numerator) // np.abs(denominator)
    return np.where((numerator < 0) == (denominator < 0), quotient, -quotient)

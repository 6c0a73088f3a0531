"""Masks as outlines along the edges of their pixels: exact, with holes."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray

EAST, SOUTH, WEST, NORTH = range(4)
"""Directions of edges, each a turn to the right from the one before."""
Outline = Int64[ndarray, "_ 2"]
"""The corners (x, y) in whole px, without the first one again at the end."""


@dataclass(frozen=True, slots=True)
class TracedPart:
    """A connected part of a mask. Pixels that touch by a corner alone are of different parts."""

    outline: Outline
    """Clockwise on the screen."""
    holes: list[Outline]
    """Counter-clockwise."""


def trace_parts(mask: Bool[ndarray, "h w"]) -> list[TracedPart]:
    """Find the outlines of all connected parts of a mask, in the order of their first pixels."""
    from scipy import ndimage

    numbers, _ = ndimage.label(mask)
    outlines: dict[int, Outline] = {}
    holes: dict[int, list[Outline]] = defaultdict(list)
    for number, corners in _loops(mask, numbers):
        if _doubled_area(corners) > 0:
            outlines[number] = corners
        else:
            holes[number].append(corners)
    return [TracedPart(outlines[number], holes[number]) for number in sorted(outlines)]


def pixel_path(outline: Outline) -> Outline:
    """Walk along an outline on the pixels within, whose centres are at whole numbers.

    Drawn with its border (see `bordered`) it is what the outline holds.
    """
    ends = np.roll(outline, -1, axis=0)
    steps = np.sign(ends - outline)
    # To the right of an edge to the east lies the pixel of its corner, and so on
    right = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
    offset = np.minimum(right, 0) + np.minimum(steps, 0)
    first, last = outline + offset, ends - steps + offset
    return np.stack([first, last], axis=1).reshape(-1, 2)


def _loops(
    mask: Bool[ndarray, "h w"], numbers: Int32[ndarray, "h w"]
) -> Iterator[tuple[int, Outline]]:
    """The corners of each closed outline, and the number of the part to its right."""
    starts, directions, inside = _edges(mask)
    following = _following_edges(starts, directions, mask.shape)
    turns = directions != directions[following]
    # Only edges before which the direction changes begin at a corner
    is_corner = np.zeros(len(starts), bool)
    is_corner[following[turns]] = True
    next_edges, corners = following.tolist(), is_corner.tolist()
    seen = bytearray(len(next_edges))
    for first in np.flatnonzero(is_corner).tolist():
        if seen[first]:
            continue
        loop, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            if corners[edge]:
                loop.append(edge)
            edge = next_edges[edge]
        y, x = inside[first]
        yield int(numbers[y, x]), starts[loop]


def _edges(
    mask: Bool[ndarray, "h w"],
) -> tuple[Int64[ndarray, "n 2"], Int64[ndarray, " n"], Int64[ndarray, "n 2"]]:
    """All edges between a pixel of the mask and one that is none, the mask to their right.

    Returns the corner (x, y) at which each begins, its direction, and the row and the column of the
    pixel within.
    """
    padded = np.pad(mask, 1)
    outside = {
        EAST: ~padded[:-2, 1:-1],
        SOUTH: ~padded[1:-1, 2:],
        WEST: ~padded[2:, 1:-1],
        NORTH: ~padded[1:-1, :-2],
    }
    corner = {EAST: (0, 0), SOUTH: (1, 0), WEST: (1, 1), NORTH: (0, 1)}
    starts, directions, inside = [], [], []
    for direction, beyond in outside.items():
        pixels = np.argwhere(mask & beyond)
        starts.append(pixels[:, ::-1] + corner[direction])
        directions.append(np.full(len(pixels), direction))
        inside.append(pixels)
    return np.concatenate(starts), np.concatenate(directions), np.concatenate(inside)


def _following_edges(
    starts: Int64[ndarray, "n 2"], directions: Int64[ndarray, " n"], size_px: tuple[int, ...]
) -> Int64[ndarray, " n"]:
    """The edge that follows each: where there are two, the one to the right."""
    width = size_px[1] + 1
    keys = (starts[:, 1] * width + starts[:, 0]) * 4 + directions
    order = np.argsort(keys)
    steps = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    ends = starts + steps[directions]
    vertex = (ends[:, 1] * width + ends[:, 0]) * 4
    following = np.full(len(starts), -1)
    for turn in (1, 0, 3):
        wanted = vertex + (directions + turn) % 4
        place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        found = order[place]
        hit = (keys[found] == wanted) & (following < 0)
        following[hit] = found[hit]
    return following


def _doubled_area(corners: Outline) -> int:
    """Twice the area within, by the shoelace formula; negative for a hole."""
    x, y = corners.T
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))

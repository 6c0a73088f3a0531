"""How a slice of a volume is turned, so that it is shown as radiologists expect it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

DOWN = {"S": True, "A": True, "I": False, "P": False}
"""Directions along which rows run from top to bottom; True where the stored axis is turned round.
The head or the front is at the top.
"""
RIGHT = {"R": True, "A": True, "L": False, "P": False}
"""Likewise of columns from left to right: the patient's right, or the front, is at the left."""
Side = TypeVar("Side", int, float)
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True, slots=True)
class SliceOrder:
    """How the first two axes of a volume become rows and columns."""

    swaps: bool
    """The second axis becomes rows."""
    flips_rows: bool
    flips_columns: bool

    def to_image(self, plane: Shaped[ndarray, "a b *c"]) -> Shaped[ndarray, "h w *c"]:
        """Turn a stored slice into an image."""
        image = plane.swapaxes(0, 1) if self.swaps else plane
        return self._flip(image)

    def to_plane(self, image: Shaped[ndarray, "h w *c"]) -> Shaped[ndarray, "a b *c"]:
        """Turn an image, such as a mask, back into a stored slice."""
        plane = self._flip(image)
        return plane.swapaxes(0, 1) if self.swaps else plane

    def _flip(self, image: Shaped[ndarray, "h w *c"]) -> Shaped[ndarray, "h w *c"]:
        rows, columns = (slice(None, None, -1 if flips else 1) for flips in self._flips)
        return image[rows, columns]

    @property
    def _flips(self) -> tuple[bool, bool]:
        return self.flips_rows, self.flips_columns

    def sides(self, first: Side, second: Side) -> tuple[Side, Side]:
        """Height and width of a pixel whose sides along both axes are given."""
        return (second, first) if self.swaps else (first, second)


def slice_order(affine: Float[ndarray, "4 4"]) -> SliceOrder:
    """Find how slices along the third axis are shown.

    Args:
        affine: From the indices of voxels to millimetres to the right, front and head (RAS+).
    """
    first, second, _ = axis_directions(affine)
    # The axis towards the head is vertical, else that towards the front
    swaps = "SI".find(second) >= 0 or ("AP".find(second) >= 0 and "SI".find(first) < 0)
    rows, columns = (second, first) if swaps else (first, second)
    return SliceOrder(swaps, DOWN[rows], RIGHT[columns])


def axis_directions(affine: Float[ndarray, "4 4"]) -> Sequence[str]:
    """Name the direction of the body that each axis of a volume is closest to, such as LPS."""
    steps = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    names = ["", "", ""]
    free = np.abs(steps)
    for _ in range(3):
        direction, axis = divmod(int(free.argmax()), 3)
        name = "RAS"[direction]
        names[axis] = name if steps[direction, axis] >= 0 else OPPOSITE[name]
        free[direction, :] = free[:, axis] = -1
    return names

"""Where rows of pixels enter and leave a polygon, by the even-odd rule."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

Numbers = Int64[ndarray, " n"] | Float64[ndarray, " n"]
"""Columns: whole numbers of a fixed-point form, or fractions."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of closed outlines; each crosses the rows from `first` on, up to before `last`."""

    first: Int64[ndarray, " n"]
    last: Int64[ndarray, " n"]
    x: Numbers
    """Where an edge crosses its first row."""
    slope: Numbers
    """How far it moves from row to row."""

    def spans(self, height: int) -> tuple[Int64[ndarray, " m"], ndarray, ndarray]:
        """Give the rows of an image of this height that lie within, each with both its ends."""
        first = np.maximum(self.first, 0)
        counts = np.maximum(np.minimum(self.last, height) - first, 0)
        edge = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = first[edge] + step
        x = self.x[edge] + (rows - self.first[edge]) * self.slope[edge]
        order = np.lexsort((x, rows))
        rows, x = rows[order], x[order]
        return rows[::2], x[::2], x[1::2]

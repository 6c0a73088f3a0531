"""Errors as people make them in masks, drawn at random: what a label audit learns to recognise."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray

Mask = Bool[ndarray, "h w"]

WRONG_CLASS = "wrong class"
SHIFTS = (0.2, 0.7)
"""How far a mask is shifted, in diameters of its median object."""
LOOSE, TIGHT = (1.35, 2.2), (0.35, 0.75)
"""The area of a mask with a loose and a tight outline, relative to the true one."""
MIN_CHANGE = 0.03
"""A mask is changed by at least this much, as 1 - Dice."""


class ErrorSimulator:
    """Draws errors into masks of one class.

    Args:
        rng: Draws which errors, and how large they are.
        masks: Of other images of the set, for the masks of wrong images.
    """

    def __init__(self, rng: np.random.Generator, masks: Sequence[Mask]) -> None:
        self._rng, self._masks = rng, masks
        self._draw: dict[str, Callable[[Mask], Mask]] = {
            "missing object": self._miss,
            "invented object": self._invent,
            "shifted": self._shift,
            "mirrored": self._mirror,
            "loose outline": lambda mask: self._resize(mask, LOOSE),
            "tight outline": lambda mask: self._resize(mask, TIGHT),
            "cut off": self._cut,
            "wrong image": self._exchange,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._draw)

    def draw(self, kind: str, mask: Mask) -> Mask | None:
        """Draw an error of a kind into a mask; None where it would change too little."""
        if not mask.any():
            return None
        other = self._draw[kind](mask)
        total = int(mask.sum() + other.sum())
        change = 1 - 2 * int((mask & other).sum()) / total
        return other if change >= MIN_CHANGE else None

    def rename(self, mask: Mask, foreign: Mask) -> Mask | None:
        """Give an object of another class to this one; None where there is none.

        Args:
            mask: Of the class.
            foreign: Of all other classes.
        """
        if not foreign.any():
            return None
        objects, areas = _objects(foreign)
        large = np.flatnonzero(areas >= np.median(areas)) + 1
        return mask | (objects == self._rng.choice(large))

    def _miss(self, mask: Mask) -> Mask:
        """An object is not drawn; of many, the larger half, which someone would have seen."""
        objects, areas = _objects(mask)
        large = np.flatnonzero(areas >= np.median(areas)) + 1
        return mask & (objects != self._rng.choice(large))

    def _invent(self, mask: Mask) -> Mask:
        """An object is drawn elsewhere once more."""
        objects, areas = _objects(mask)
        large = np.flatnonzero(areas >= np.median(areas) / 2) + 1
        rows, columns = np.nonzero(objects == self._rng.choice(large))
        height, width = mask.shape
        rows = rows - rows.min() + self._rng.integers(-np.ptp(rows) // 2, height)
        columns = columns - columns.min() + self._rng.integers(-np.ptp(columns) // 2, width)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        other = mask.copy()
        other[rows[inside], columns[inside]] = True
        return other

    def _shift(self, mask: Mask) -> Mask:
        angle, share = self._rng.uniform(0, 2 * math.pi), self._rng.uniform(*SHIFTS)
        way = share * _diameter(mask)
        return _move(mask, round(way * math.sin(angle)), round(way * math.cos(angle)))

    def _mirror(self, mask: Mask) -> Mask:
        turned = (mask[::-1], mask[:, ::-1], mask[::-1, ::-1])
        return turned[int(self._rng.integers(len(turned)))]

    def _resize(self, mask: Mask, ratios: tuple[float, float]) -> Mask:
        """The outline is drawn too far out or in by the same width everywhere."""
        from scipy import ndimage

        area = min(round(float(mask.sum()) * self._rng.uniform(*ratios)), mask.size - 1)
        signed = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
        other: Mask = signed <= np.partition(signed, area, axis=None)[area]
        return other

    def _cut(self, mask: Mask) -> Mask:
        """What lies beyond a straight line was not drawn."""
        rows, columns = np.nonzero(mask)
        angle = self._rng.uniform(0, 2 * math.pi)
        along = rows * math.sin(angle) + columns * math.cos(angle)
        gone = along > np.quantile(along, self._rng.uniform(0.3, 0.8))
        other = mask.copy()
        other[rows[gone], columns[gone]] = False
        return other

    def _exchange(self, mask: Mask) -> Mask:
        other = self._masks[int(self._rng.integers(len(self._masks)))]
        rows, columns = (
            np.arange(wanted) * there // wanted
            for wanted, there in zip(mask.shape, other.shape, strict=True)
        )
        return other[np.ix_(rows, columns)]


def _objects(mask: Mask) -> tuple[Int32[ndarray, "h w"], Int64[ndarray, " n"]]:
    from scipy import ndimage

    objects, _ = ndimage.label(mask)
    return objects, np.bincount(objects.ravel())[1:]


def _diameter(mask: Mask) -> float:
    """Of the median object, as a disc of its area."""
    return 2 * math.sqrt(float(np.median(_objects(mask)[1])) / math.pi)


def _move(mask: Mask, down: int, right: int) -> Mask:
    moved = np.zeros_like(mask)
    height, width = mask.shape
    down, right = (max(-n, min(n, way)) for n, way in ((height, down), (width, right)))
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved

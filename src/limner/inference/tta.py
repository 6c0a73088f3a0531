"""Test-time augmentation: a canvas mirrored, rotated and scaled, and its prediction undone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from PIL import Image

SIDE_MULTIPLE = 32
"""Sides of scaled canvases are multiples of this, which most networks prefer."""


@dataclass(frozen=True, slots=True)
class TtaTransform:
    """One augmentation: mirror left to right, then rotate by quarter turns, then scale."""

    mirrored: bool = False
    turns: int = 0
    """Quarter turns, counter-clockwise."""
    scale: float = 1.0

    def apply(self, canvas: Float32[ndarray, "c h w"]) -> Float32[ndarray, "c h2 w2"]:
        """Return the augmented canvas."""
        mirrored = canvas[..., ::-1] if self.mirrored else canvas
        rotated = np.rot90(mirrored, self.turns, axes=(-2, -1))
        if self.scale == 1:
            return np.ascontiguousarray(rotated)
        height, width = (
            max(SIDE_MULTIPLE, round(side * self.scale / SIDE_MULTIPLE) * SIDE_MULTIPLE)
            for side in rotated.shape[1:]
        )
        return _resize_planes(rotated, (height, width))

    def invert(
        self, planes: Float32[ndarray, "k h2 w2"], size_px: tuple[int, int]
    ) -> Float32[ndarray, "k h w"]:
        """Undo the augmentation on the network's output; `size_px` is the canvas's size."""
        if self.scale != 1:
            planes = _resize_planes(planes, size_px[::-1] if self.turns % 2 else size_px)
        upright = np.rot90(planes, -self.turns, axes=(-2, -1))
        return upright[..., ::-1] if self.mirrored else upright


TTA_TRANSFORMS: Mapping[str, tuple[TtaTransform, ...]] = {
    "none": (TtaTransform(),),
    "flips": (
        TtaTransform(),
        TtaTransform(mirrored=True),
        TtaTransform(turns=2),
        TtaTransform(mirrored=True, turns=2),
    ),
    "turns": tuple(
        TtaTransform(mirrored=mirrored, turns=turns)
        for turns in range(4)
        for mirrored in (False, True)
    ),
    "scales": tuple(
        TtaTransform(mirrored=mirrored, scale=scale)
        for scale in (1.0, 0.75, 1.25)
        for mirrored in (False, True)
    ),
}
"""By the names that `--tta` takes; the first of each leaves the canvas as it is."""


def _resize_planes(
    planes: Float32[ndarray, "c h w"], size_px: tuple[int, int]
) -> Float32[ndarray, "c h2 w2"]:
    resized = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            size_px[::-1], Image.Resampling.BILINEAR
        )
        for plane in planes
    ]
    return np.stack([np.asarray(plane) for plane in resized])

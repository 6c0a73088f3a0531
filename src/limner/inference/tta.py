"""Test-time augmentation: the same canvas seen mirrored, turned and at other scales, and what was
drawn on it brought back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from PIL import Image

GRID = 32
"""Scaled canvases have sides of a multiple of it, as most networks like."""


@dataclass(frozen=True, slots=True)
class TtaTransform:
    """Mirrored from left to right or not, then so many quarter turns, then a change of size."""

    mirrored: bool = False
    turns: int = 0
    scale: float = 1.0

    def apply(self, canvas: Float32[ndarray, "c h w"]) -> Float32[ndarray, "c h2 w2"]:
        """The canvas as this variant shows it."""
        seen = np.rot90(canvas[..., ::-1] if self.mirrored else canvas, self.turns, axes=(-2, -1))
        if self.scale == 1:
            return np.ascontiguousarray(seen)
        height, width = (
            max(GRID, round(side * self.scale / GRID) * GRID) for side in seen.shape[1:]
        )
        return _resized(seen, (height, width))

    def invert(
        self, drawn: Float32[ndarray, "k h2 w2"], size_px: tuple[int, int]
    ) -> Float32[ndarray, "k h w"]:
        """What the network made of the variant, on a canvas of the original size again."""
        turned = size_px[::-1] if self.turns % 2 else size_px
        drawn = drawn if self.scale == 1 else _resized(drawn, turned)
        straight = np.rot90(drawn, -self.turns, axes=(-2, -1))
        return straight[..., ::-1] if self.mirrored else straight


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
"""By the names that `--tta` takes; the first of each is the canvas as it is."""


def _resized(
    planes: Float32[ndarray, "c h w"], size_px: tuple[int, int]
) -> Float32[ndarray, "c h2 w2"]:
    size = size_px[::-1]
    return np.stack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BILINEAR)
            )
            for plane in planes
        ]
    )

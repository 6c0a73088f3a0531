"""An image through a network in pieces, and the pieces joined: tiles that see as far as the network
does, so that they equal the whole.

Tiles are cut at multiples of the network's stride and overlap by what it sees beyond a cut
(`engines.Sight`); of each its core alone is kept, where every pixel depends on what the tile shows.
A network that always sees the whole image cannot be cut so: its tiles are of the size that it was
trained on, and fade into each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.large_images import ArrayImage, ImageReader, downsample
from limner.data.preprocess import Box, Preprocessing, View, blend_weights, pad_to_canvas
from limner.data.resize import upsample_bands
from limner.inference.calibration import to_probabilities
from limner.inference.engines import Engine, ReceptiveField
from limner.inference.quality import CanvasPrediction
from limner.inference.tta import TtaTransform

CORE_PX = 768
"""The side of a tile's core, or as far as the network sees: a smaller one would be mostly overlap,
a larger one wants more memory.
"""
BATCH_PIXELS = 1024 * 1024
"""Variants of a canvas go through the network together up to so many pixels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image as a network was shown it, and the probabilities that it drew there, by
    variant.
    """

    pixels: UInt8[ndarray, "h w c"]
    probabilities: Float32[ndarray, "v k h w"]
    content: Box
    """What of it shows the image, and not what was put around it."""
    box: Box | None
    """Where that lies in the image; None where it is all of it, at another size."""
    weight: Float32[ndarray, "h2 w2"] | None = None
    """Where pieces overlap and fade into each other."""

    def canvas(self) -> CanvasPrediction:
        """What was shown, beside the mean over the variants."""
        return CanvasPrediction(self.pixels, self.probabilities.mean(0))


def predict_tiles(
    picture: ImageReader,
    engine: Engine,
    preprocessing: Preprocessing,
    sight: ReceptiveField,
    variants: Sequence[TtaTransform],
) -> Iterator[Tile]:
    """An image's pieces, row by row of them. Raises LimnerError for an image of other channels than
    those of the training.
    """
    preprocessing.check_channels(picture.channels)
    if preprocessing.resize_mode == "tile" and sight.halo_px is not None:
        yield from _exact(picture, engine, preprocessing, sight, variants)
        return
    for view in preprocessing.views(picture.size_px):
        canvas = _shown(picture, preprocessing, view)
        weight = (
            None
            if view.source is None
            else blend_weights(view.source.height)[:, None] * blend_weights(view.source.width)
        )
        yield Tile(
            canvas,
            _draw(engine, preprocessing.normalise(canvas), variants),
            view.target,
            view.source,
            weight,
        )


def _shown(
    picture: ImageReader, preprocessing: Preprocessing, view: View
) -> UInt8[ndarray, "h w c"]:
    if view.source is not None:
        return pad_to_canvas(picture.read(view.source), view, preprocessing.size_px)
    if isinstance(picture, ArrayImage):
        return preprocessing.to_canvas(picture.read(Box(0, 0, *picture.size_px)), view)
    return pad_to_canvas(
        downsample(picture, (view.target.height, view.target.width)), view, preprocessing.size_px
    )


def _exact(
    picture: ImageReader,
    engine: Engine,
    preprocessing: Preprocessing,
    sight: ReceptiveField,
    variants: Sequence[TtaTransform],
) -> Iterator[Tile]:
    """The image on a canvas whose sides are multiples of the stride, which mirrored and turned
    tiles need too; its edge is repeated around it.
    """
    assert sight.halo_px is not None
    stride, margin = sight.stride, -(-sight.halo_px // sight.stride) * sight.stride
    sides = [
        -(-max(side, size, 2 * stride) // stride) * stride
        for side, size in zip(picture.size_px, preprocessing.size_px, strict=True)
    ]
    before = [
        (size - side) // 2 if side < size else 0
        for side, size in zip(picture.size_px, preprocessing.size_px, strict=True)
    ]
    core_px = max(CORE_PX, margin) // stride * stride
    rows, columns = (_cores(side, core_px, stride) for side in sides)
    for top, bottom in rows:
        for left, right in columns:
            outer = Box.from_edges(
                max(0, top - margin),
                max(0, left - margin),
                min(sides[0], bottom + margin),
                min(sides[1], right + margin),
            )
            tile = _read(picture, outer, before)
            drawn = _draw(engine, preprocessing.normalise(tile), variants)
            place = Box.from_edges(
                max(0, top - before[0]),
                max(0, left - before[1]),
                min(picture.size_px[0], bottom - before[0]),
                min(picture.size_px[1], right - before[1]),
            )
            kept = Box(
                place.top + before[0] - outer.top,
                place.left + before[1] - outer.left,
                place.height,
                place.width,
            )
            yield Tile(
                kept.crop(tile),
                kept.crop_planes(drawn),
                Box(0, 0, place.height, place.width),
                place,
            )


def _cores(side: int, core_px: int, stride: int) -> list[tuple[int, int]]:
    """Where cores begin and end along an axis: as few as there must be, all of one size but the
    last.
    """
    count = -(-side // core_px)
    step = -(-side // (count * stride)) * stride
    return [(start, min(start + step, side)) for start in range(0, side, step)]


def _read(picture: ImageReader, outer: Box, before: Sequence[int]) -> UInt8[ndarray, "h w c"]:
    """A part of the canvas on which the image lies `before` pixels from the edges."""
    rows, columns = (
        np.clip(np.arange(start, start + length) - skipped, 0, side - 1)
        for start, length, skipped, side in zip(
            outer[:2], outer[2:], before, picture.size_px, strict=True
        )
    )
    part = picture.read(
        Box.from_edges(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    )
    return (
        part
        if part.shape[:2] == (outer.height, outer.width)
        else part[rows - rows[0]][:, columns - columns[0]]
    )


def _draw(
    engine: Engine, array: Float32[ndarray, "c h w"], variants: Sequence[TtaTransform]
) -> Float32[ndarray, "v k h w"]:
    """The probabilities of each variant of a canvas, back where they belong; variants of one shape
    go through the network together.
    """
    shown = [variant.apply(array) for variant in variants]
    drawn = dict[int, Float32[ndarray, "k h w"]]()
    for shape in {one.shape for one in shown}:
        alike = [row for row, one in enumerate(shown) if one.shape == shape]
        together = max(1, BATCH_PIXELS // (shape[1] * shape[2]))
        for rows in (alike[first : first + together] for first in range(0, len(alike), together)):
            for row, logits in zip(
                rows, engine(np.stack([shown[row] for row in rows])), strict=True
            ):
                drawn[row] = variants[row].invert(
                    to_probabilities(logits), (array.shape[1], array.shape[2])
                )
    return np.stack([drawn[row] for row in range(len(shown))])


def merge_tiles(
    found: Iterable[Tile], image_px: tuple[int, int], rows: Sequence[int] | None = None
) -> Iterator[Float32[ndarray, "k h w"]]:
    """Probabilities at the image's own size in bands, from its top to its bottom: the mean over the
    variants, or over some of them.
    """
    base, total = 0, None
    weights: Float32[ndarray, "h w"] | None = None
    for piece in found:
        part = piece.content.crop_planes(
            (piece.probabilities if rows is None else piece.probabilities[list(rows)]).mean(0)
        )
        if piece.box is None:
            yield from upsample_bands(part, image_px)
            return
        top, left, height, width = piece.box
        if total is not None and top > base:
            # What lies above this row of pieces is complete
            yield (
                total[:, : top - base]
                if weights is None
                else total[:, : top - base] / weights[: top - base]
            )
            total, weights = (
                _below(total, top - base),
                None if weights is None else _below(weights, top - base),
            )
            base = top
        if total is None:
            total = np.zeros((len(part), 0, image_px[1]), np.float32)
            weights = None if piece.weight is None else np.zeros((0, image_px[1]), np.float32)
        total = _as_high(total, top + height - base)
        place = Box(top - base, left, height, width)
        if weights is None or piece.weight is None:
            place.crop_planes(total)[:] = part
        else:
            weights = _as_high(weights, top + height - base)
            place.crop_planes(total)[:] += part * piece.weight
            place.crop(weights)[:] += piece.weight
    assert total is not None
    yield total if weights is None else total / weights


def _below(planes: Float32[ndarray, "*k h w"], rows: int) -> Float32[ndarray, "*k h2 w"]:
    """What lies below so many rows, as memory of its own, so that the rest can be given back."""
    return planes[..., rows:, :].copy()


def _as_high(planes: Float32[ndarray, "*k h w"], rows: int) -> Float32[ndarray, "*k h2 w"]:
    """With zeros below, where there are fewer rows."""
    missing = rows - planes.shape[-2]
    return (
        planes
        if missing <= 0
        else np.concatenate(
            [planes, np.zeros((*planes.shape[:-2], missing, planes.shape[-1]), np.float32)], axis=-2
        )
    )


def split_rows(
    bands: Iterable[Float32[ndarray, "k _ w"]], rows: int
) -> Iterator[Float32[ndarray, "k _ w"]]:
    """The same bands cut to so many rows each; the last may have fewer."""
    kept: list[Float32[ndarray, "k _ w"]] = []
    for band in bands:
        kept.append(band)
        while sum(part.shape[1] for part in kept) >= rows:
            joined = np.concatenate(kept, axis=1)
            yield joined[:, :rows]
            kept = [joined[:, rows:]]
    if rest := [part for part in kept if part.shape[1]]:
        yield np.concatenate(rest, axis=1)

"""An image of any size through a network, in tiles that are merged again.

Tiles are cut at multiples of the network's stride. They overlap by the halo, which covers what the
network sees beyond a cut. Of each tile the core alone is kept: there every pixel depends on the
tile's pixels only, so tiles equal the whole image. A network that always sees the whole image has
no halo. Its tiles have the size that it was trained on, and are blended.

The grid of tiles is in `tile_grid`, the halo's width in `model.receptive_field`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy import ndarray

from limner.data.large_images import ArrayImage, ImageReader, downsample
from limner.data.parallel import read_ahead
from limner.data.preprocess import Preprocessing, pad_to_canvas
from limner.data.resize import upsample_bands
from limner.data.views import Box, View, blend_weights
from limner.inference.calibration import to_probabilities
from limner.inference.confidence import CanvasPrediction
from limner.inference.engines import Engine, ReceptiveField
from limner.inference.streaming import (
    OpenSegments,
    Rows,
    SegmentedNetwork,
    StreamedImage,
    no_segments,
)
from limner.inference.tile_grid import WHOLE, GridPart, TileGrid, plan_tiles
from limner.inference.tta import TtaTransform

BATCH_PIXELS = 1024 * 1024
"""Augmented copies of a canvas go through the network together, up to so many pixels."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image, and what the network predicted there."""

    pixels: UInt8[ndarray, "h w c"]
    """The canvas that the network saw; of an exact tile, its core."""
    probabilities: Float32[ndarray, "t k h w"]
    """One for each test-time augmentation, undone."""
    content: Box
    """Where on the canvas the image is; the rest is padding."""
    box: Box | None
    """Where the content lies in the image; None where it is the whole image, at another size."""
    weight: Float32[ndarray, "h2 w2"] | None = None
    """Blending weight of each pixel of the content; None where tiles do not overlap."""

    def canvas(self) -> CanvasPrediction:
        """Return the pixels with the mean probabilities over augmentations."""
        return CanvasPrediction(self.pixels, _mean(self.probabilities))


@dataclass(frozen=True, slots=True)
class TiledNetwork:
    """A network, and how it may be cut."""

    engine: Engine
    receptive_field: ReceptiveField
    """Gives stride and halo of the tiles."""
    segmented: OpenSegments = no_segments


def exact_grid(
    image_px: tuple[int, int], preprocessing: Preprocessing, receptive_field: ReceptiveField
) -> TileGrid | None:
    """The grid of an image's exact tiles; None where it is one canvas, or its tiles are blended."""
    if preprocessing.resize_mode != "tile" or receptive_field.halo_px is None:
        return None
    return plan_tiles(image_px, preprocessing.size_px, receptive_field)


def predict_tiles(
    image: ImageReader,
    network: TiledNetwork,
    preprocessing: Preprocessing,
    transforms: Sequence[TtaTransform],
    part: GridPart = WHOLE,
) -> Iterator[Tile]:
    """Predict an image tile by tile, row by row.

    An image that fits is one tile. A larger one goes through the network in bands (`streaming`)
    where that can be cut into segments; else each tile is computed with its halo.

    Args:
        image: the image, which need not be in memory.
        network: runs the tiles.
        preprocessing: of the network's training.
        transforms: test-time augmentations; all are predicted.
        part: the tiles that are given; only exact ones can be chosen.

    Raises LimnerError for an image with other channels than those of the training.
    """
    preprocessing.check_channels(image.channels)
    engine = network.engine
    if grid := exact_grid(image.size_px, preprocessing, network.receptive_field):
        are_exact = all(transform.scale == 1 for transform in transforms)
        if not grid.is_single and are_exact and (segmented := network.segmented()):
            chosen = grid.part(part)
            yield from _stream_tiles(image, segmented, preprocessing, chosen, transforms)
            return
        for cell in grid.part(part).cells():
            canvas = _read_padded(image, cell.outer, grid.before)
            probabilities = _predict_canvas(engine, preprocessing.normalise(canvas), transforms)
            content = Box(0, 0, cell.box.height, cell.box.width)
            yield Tile(
                cell.core.crop(canvas), cell.core.crop_planes(probabilities), content, cell.box
            )
        return
    assert part == WHOLE
    for view in preprocessing.views(image.size_px):
        canvas = _read_view(image, preprocessing, view)
        probabilities = _predict_canvas(engine, preprocessing.normalise(canvas), transforms)
        yield Tile(canvas, probabilities, view.target, view.source, _blend_weight(view))


def _stream_tiles(
    image: ImageReader,
    network: SegmentedNetwork,
    preprocessing: Preprocessing,
    grid: TileGrid,
    transforms: Sequence[TtaTransform],
) -> Iterator[Tile]:
    """Predict the rows of a grid in bands, and yield them as its tiles."""
    source = grid.source

    def read(top: int, bottom: int, left: int, right: int) -> Float32[ndarray, "c h w"]:
        box = Box(source.top + top, source.left + left, bottom - top, right - left)
        return preprocessing.normalise(_read_padded(image, box, grid.before))

    size_px = (source.height, source.width)
    bands = read_ahead(StreamedImage(network, read, size_px, transforms).bands())
    rows = Rows(1, source.top, source.top)
    for cell in grid.cells():
        # Where its core lies on the padded image
        top, left = cell.outer.top + cell.core.top, cell.outer.left + cell.core.left
        height, width = cell.core.height, cell.core.width
        # The rows above the core are done, since cells come row by row
        rows.drop(top)
        while rows.end_px < top + height:
            rows.append(next(bands)[1])
        columns = slice(left - source.left, left - source.left + width)
        every = rows.take(top, top + height, columns)
        probabilities = np.stack([to_probabilities(logits) for logits in every])
        pixels = _read_padded(image, Box(top, left, height, width), grid.before)
        content = Box(0, 0, cell.box.height, cell.box.width)
        yield Tile(pixels, probabilities, content, cell.box)


def _read_view(
    image: ImageReader, preprocessing: Preprocessing, view: View
) -> UInt8[ndarray, "h w c"]:
    """Read a view of the image as a canvas of the working size."""
    if view.source is not None:
        return pad_to_canvas(image.read(view.source), view, preprocessing.size_px)
    if isinstance(image, ArrayImage):
        return preprocessing.to_canvas(image.read(Box(0, 0, *image.size_px)), view)
    small = downsample(image, (view.target.height, view.target.width))
    return pad_to_canvas(small, view, preprocessing.size_px)


def _blend_weight(view: View) -> Float32[ndarray, "h w"] | None:
    if view.source is None:
        return None
    return blend_weights(view.source.height)[:, None] * blend_weights(view.source.width)


def _read_padded(
    image: ImageReader, outer: Box, before: tuple[int, int]
) -> UInt8[ndarray, "h w c"]:
    """Read a box of the padded image; outside of the image its edge is repeated."""
    rows, columns = (
        np.clip(np.arange(start, start + length) - padding, 0, side - 1)
        for start, length, padding, side in zip(
            outer[:2], outer[2:], before, image.size_px, strict=True
        )
    )
    part = image.read(
        Box.from_edges(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    )
    if part.shape[:2] == (outer.height, outer.width):
        return part
    return part[rows - rows[0]][:, columns - columns[0]]


def _predict_canvas(
    engine: Engine, canvas: Float32[ndarray, "c h w"], transforms: Sequence[TtaTransform]
) -> Float32[ndarray, "t k h w"]:
    """Predict each augmentation of a canvas, and undo it.

    Augmented copies of one shape go through the network together.
    """
    size_px = (canvas.shape[1], canvas.shape[2])
    augmented = [transform.apply(canvas) for transform in transforms]
    probabilities = dict[int, Float32[ndarray, "k h w"]]()
    for shape in {copy.shape for copy in augmented}:
        same_shape = [index for index, copy in enumerate(augmented) if copy.shape == shape]
        batch_size = max(1, BATCH_PIXELS // (shape[1] * shape[2]))
        for start in range(0, len(same_shape), batch_size):
            batch = same_shape[start : start + batch_size]
            batch_logits = engine(np.stack([augmented[index] for index in batch]))
            for index, logits in zip(batch, batch_logits, strict=True):
                probabilities[index] = transforms[index].invert(to_probabilities(logits), size_px)
    return np.stack([probabilities[index] for index in range(len(transforms))])


def _mean(planes: Float32[ndarray, "t k h w"]) -> Float32[ndarray, "k h w"]:
    """The mean over augmentations; of one alone no copy."""
    return planes[0] if len(planes) == 1 else planes.mean(0)


def merge_tiles(
    tiles: Iterable[Tile], image_px: tuple[int, int], transforms: Sequence[int] | None = None
) -> Iterator[Float32[ndarray, "k h w"]]:
    """Merge tiles into probabilities at the image's own size, in bands from top to bottom.

    Args:
        tiles: row by row, as `predict_tiles` yields them.
        image_px: height and width of the image, or of the part that the tiles are of.
        transforms: indices of the augmentations to average; all by default.
    """
    accumulator = _BandAccumulator(image_px[1])
    for tile in tiles:
        every = tile.probabilities
        mean = _mean(every if transforms is None else every[list(transforms)])
        part = tile.content.crop_planes(mean)
        if tile.box is None:
            yield from upsample_bands(part, image_px)
            return
        band = accumulator.complete_above(tile.box.top)
        if band is not None:
            yield band
        accumulator.add(part, tile.box, tile.weight)
    yield accumulator.remaining()


class _BandAccumulator:
    """Sums tiles in the rows that are not complete yet, so that memory holds one row of tiles.

    Overlapping tiles are weighted sums, divided by the sum of their weights.
    """

    def __init__(self, width_px: int) -> None:
        self._width_px = width_px
        self._top = self._left = 0
        self._sums: Float32[ndarray, "k h w"] | None = None
        self._weights: Float32[ndarray, "h w"] | None = None

    def complete_above(self, top: int) -> Float32[ndarray, "k h w"] | None:
        """Take the rows above `top`, which no further tile reaches; None where there are none."""
        rows = top - self._top
        if self._sums is None or rows <= 0:
            return None
        weights = self._weights
        band = _weighted_mean(self._sums[:, :rows], None if weights is None else weights[:rows])
        # Copies, so that the memory of the rows above can be freed
        self._sums = self._sums[:, rows:].copy()
        self._weights = None if weights is None else weights[rows:].copy()
        self._top = top
        return band

    def add(
        self,
        part: Float32[ndarray, "k h w"],
        box: Box,
        weight: Float32[ndarray, "h w"] | None,
    ) -> None:
        """Add a tile's probabilities at its place in the image."""
        bottom = box.top + box.height - self._top
        if self._sums is None:
            # Those of a part begin further down or to the right
            self._top, self._left = box.top, box.left
            bottom = box.height
            self._sums = np.zeros((len(part), 0, self._width_px), np.float32)
            self._weights = None if weight is None else np.zeros((0, self._width_px), np.float32)
        self._sums = _extend(self._sums, bottom)
        place = Box(box.top - self._top, box.left - self._left, box.height, box.width)
        if weight is None or self._weights is None:
            place.crop_planes(self._sums)[:] = part
            return
        self._weights = _extend(self._weights, bottom)
        place.crop_planes(self._sums)[:] += part * weight
        place.crop(self._weights)[:] += weight

    def remaining(self) -> Float32[ndarray, "k h w"]:
        """Take the rows that are left, once there are no more tiles."""
        assert self._sums is not None
        return _weighted_mean(self._sums, self._weights)


def _weighted_mean(
    sums: Float32[ndarray, "k h w"], weights: Float32[ndarray, "h w"] | None
) -> Float32[ndarray, "k h w"]:
    return sums if weights is None else sums / weights


def _extend(planes: Float32[ndarray, "*k h w"], rows: int) -> Float32[ndarray, "*k h2 w"]:
    """Append rows of zeros up to a number of rows."""
    missing = rows - planes.shape[-2]
    if missing <= 0:
        return planes
    zeros = np.zeros((*planes.shape[:-2], missing, planes.shape[-1]), np.float32)
    if missing == rows:
        return zeros
    return np.concatenate([planes, zeros], axis=-2)


def split_rows(
    bands: Iterable[Shaped[ndarray, "k _ w"]], rows: int
) -> Iterator[Shaped[ndarray, "k _ w"]]:
    """Cut bands to so many rows each; the last may have fewer."""
    waiting: list[Shaped[ndarray, "k _ w"]] = []
    for band in bands:
        waiting.append(band)
        while sum(part.shape[1] for part in waiting) >= rows:
            joined = np.concatenate(waiting, axis=1)
            yield joined[:, :rows]
            waiting = [joined[:, rows:]]
    if rest := [part for part in waiting if part.shape[1]]:
        yield np.concatenate(rest, axis=1)

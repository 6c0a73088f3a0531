"""Near duplicates: the same image again, resized, mirrored, rotated by quarter turns, cropped a
little, recompressed or recoloured.

Two passes over thumbnails of 64x64 px. The first compares every pair coarsely, at 8x8 px, in every
orientation and with a few crops, and keeps the candidates. The second compares those at 32x32 px,
without their coarse shading and at even contrast. So images of similar things fall away, such as a
dark lesion in the middle, or the bright disc of a lens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.image_pixels import to_rgb

THUMBNAIL_PX = 64
MIN_CONTRAST = 2.0
"""A thumbnail with a lower standard deviation, in grey levels, shows nothing recognisable."""
COARSE_PX, COARSE_SIMILARITY = 8, 0.965
FINE_PX, SIMILARITY = 32, 0.86
"""Correlations from 0 to 1. Changed copies of isic2018 reach 0.92 at least. Different images of the
synthetic set, all seen through one lens, reach 0.853.
"""
BLUR_PX = 2.0
CONTRAST_PX, CONTRAST_FLOOR = 3.0, 4.0
"""Details are divided by their strength around them, within so many pixels, and by so many grey
levels at least: what is weaker is noise.
"""
CANDIDATES_PER_IMAGE = 20
"""At most so many candidates of one image are compared closely. A set of many alike is linked all
the same.
"""
CHUNK_ROWS = 256

Window = tuple[float, float, float]
"""Top, left and side of a square part, as shares of the image."""
WHOLE: Window = (0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images, by their positions, and the correlation of their details: 1 for copies."""

    first: int
    second: int
    similarity: float


def thumbnail(image: UInt8[ndarray, "h w c"]) -> UInt8[ndarray, "64 64"]:
    """Shrink an image to the grey levels that it is compared by, of its first three channels."""
    size_px = (THUMBNAIL_PX, THUMBNAIL_PX)
    # Models keep fingerprints of these, so what is compared stays as it was
    small = Image.fromarray(to_rgb(image[..., :3])).resize(
        size_px, Image.Resampling.BOX, reducing_gap=2.0
    )
    return np.asarray(small.convert("L"))


def near_duplicates(thumbnails: UInt8[ndarray, "n 64 64"]) -> list[DuplicatePair]:
    """Find the pairs that show the same image, the most similar first.

    It takes about 20 s for 10,000 images, and four times that for twice as many.
    """
    best: dict[tuple[int, int], float] = {}
    for first, second, orientation in _candidates(thumbnails):
        similarity = _similarity(thumbnails[first], thumbnails[second], orientation)
        for a, b, value in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
            pair = (min(a, b), max(a, b))
            best[pair] = max(value, best.get(pair, 0.0))
    pairs = [
        DuplicatePair(first, second, min(value, 1.0))
        for (first, second), value in best.items()
        if value >= SIMILARITY
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def connected_components(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items the lowest item that it is linked with, directly or through others.

    This is union-find with path halving.
    """
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in links:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(item) for item in range(count)]


def _candidates(
    thumbnails: UInt8[ndarray, "n 64 64"],
) -> Iterator[tuple[Int64[ndarray, " c"], Int64[ndarray, " c"], Int64[ndarray, " c"]]]:
    """Positions of pairs that may show the same image, and the orientation (0..7) of the second
    that fits the first.
    """
    count = len(thumbnails)
    recognisable = thumbnails.reshape(count, -1).std(1) >= MIN_CONTRAST
    whole = _crop_and_shrink(thumbnails, [WHOLE], COARSE_PX)[:, 0] * recognisable[:, None, None]
    oriented = _unit(orientations(whole)).reshape(8, count, -1)
    windows = _windows((0.0, 0.025, 0.05), (0.05,))
    crops = _crop_and_shrink(thumbnails, windows, COARSE_PX)
    crops = _unit(crops * recognisable[:, None, None, None])  # (n, windows, 64)
    for start in range(0, count, CHUNK_ROWS):
        rows = crops[start : start + CHUNK_ROWS]
        best = _best_correlations(rows, oriented)
        best[np.arange(len(rows)), np.arange(start, start + len(rows))] = 0
        first, second = _most_similar(best)
        if len(first):
            by_orientation = np.stack(
                [np.einsum("cpd,cd->cp", rows[first], images[second]).max(1) for images in oriented]
            )
            yield first + start, second, by_orientation.argmax(0)


def _best_correlations(
    rows: Float32[ndarray, "r w d"], oriented: Float32[ndarray, "o n d"]
) -> Float32[ndarray, "r n"]:
    """The best correlation of any window of each row with any orientation of each image."""
    best = np.zeros((len(rows), oriented.shape[1]), np.float32)
    correlation = np.empty_like(best)
    for window in range(rows.shape[1]):
        left = np.ascontiguousarray(rows[:, window])
        for images in oriented:
            np.matmul(left, images.T, out=correlation)
            np.maximum(best, correlation, out=best)
    return best


def _most_similar(
    best: Float32[ndarray, "r n"],
) -> tuple[Int64[ndarray, " c"], Int64[ndarray, " c"]]:
    """Rows and columns of the candidates, the best of each row where there are very many."""
    first, second = np.nonzero(best >= COARSE_SIMILARITY)
    if len(first) > CANDIDATES_PER_IMAGE * len(best):
        kept = min(CANDIDATES_PER_IMAGE, best.shape[1])
        lowest_kept = np.partition(best, -kept, axis=1)[:, -kept]
        first, second = np.nonzero(best >= np.maximum(lowest_kept[:, None], COARSE_SIMILARITY))
    return first, second


def _similarity(
    first: UInt8[ndarray, "c 64 64"],
    second: UInt8[ndarray, "c 64 64"],
    orientation: Int64[ndarray, " c"],
) -> Float32[ndarray, " c"]:
    """The best correlation of the details of any window of the first with the whole second, in its
    orientation.
    """
    best = np.zeros(len(first), np.float32)
    whole = thumbnail_details(second, [WHOLE])[:, 0]
    right = _unit(orientations(whole)[orientation, np.arange(len(second))])
    windows = _windows((0.0, 0.0125, 0.025, 0.0375, 0.05), (0.0, 0.05, 0.1))
    for start in range(0, len(first), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        left = _unit(thumbnail_details(first[chunk], windows))  # (c, windows, 1024)
        best[chunk] = np.einsum("cwd,cd->cw", left, right[chunk]).max(1)
    return best


def _windows(at_95: Sequence[float], at_90: Sequence[float]) -> list[Window]:
    """The whole, and parts of 95 % and 90 % of the side at these offsets."""
    return [
        WHOLE,
        *((y, x, 0.95) for y in at_95 for x in at_95),
        *((y, x, 0.9) for y in at_90 for x in at_90),
    ]


def _crop_and_shrink(
    thumbnails: UInt8[ndarray, "n 64 64"], windows: Sequence[Window], size_px: int
) -> Float32[ndarray, "n w s s"]:
    """Windows of the thumbnails at another size, by the mean over each new pixel's area."""
    rows, columns = _window_matrices(windows, size_px)
    return _multiply_both_sides(rows, thumbnails, columns)


def thumbnail_details(
    thumbnails: UInt8[ndarray, "n 64 64"], windows: Sequence[Window]
) -> Float32[ndarray, "n w s s"]:
    """Windows of the thumbnails less their Gaussian blur, at even contrast."""
    rows, columns = _window_matrices(windows, FINE_PX)
    blurred = _multiply_both_sides(_BLUR @ rows, thumbnails, _BLUR @ columns)
    details = _multiply_both_sides(rows, thumbnails, columns) - blurred
    variance = _CONTRAST_BLUR @ details**2 @ _CONTRAST_BLUR.T
    return details / np.sqrt(np.maximum(variance, 0) + np.float32(CONTRAST_FLOOR**2))


def _window_matrices(
    windows: Sequence[Window], size_px: int
) -> tuple[Float32[ndarray, "w s 64"], Float32[ndarray, "w s 64"]]:
    """For each window the matrices that shrink its rows and its columns."""
    rows = np.stack([_area_mean(size_px, top, side) for top, _, side in windows])
    columns = np.stack([_area_mean(size_px, left, side) for _, left, side in windows])
    return rows, columns


def _multiply_both_sides(
    rows: Float32[ndarray, "w s 64"],
    thumbnails: UInt8[ndarray, "n 64 64"],
    columns: Float32[ndarray, "w s 64"],
) -> Float32[ndarray, "n w s s"]:
    """rows @ thumbnail @ columns.T of every thumbnail and window.

    It is a few large products instead of many small ones.
    """
    windows, size_px, _ = rows.shape
    count = len(thumbnails)
    pixels = thumbnails.astype(np.float32).reshape(-1, THUMBNAIL_PX)
    right = pixels @ columns.reshape(-1, THUMBNAIL_PX).T  # (n 64, w s)
    by_row = (
        right.reshape(count, THUMBNAIL_PX, windows, size_px)
        .transpose(2, 1, 0, 3)
        .reshape(windows, THUMBNAIL_PX, -1)
    )
    return (rows @ by_row).reshape(windows, size_px, count, size_px).transpose(2, 0, 1, 3)


def _area_mean(size_px: int, start: float, side: float) -> Float32[ndarray, "s 64"]:
    """The matrix that averages a part of 64 px into `size_px`."""
    edges = (start + side * np.linspace(0, 1, size_px + 1)) * THUMBNAIL_PX
    pixels = np.arange(THUMBNAIL_PX)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / np.diff(edges)[:, None]).astype(np.float32)


def _gaussian(size_px: int, sigma_px: float) -> Float32[ndarray, "s s"]:
    """The matrix of a Gaussian blur whose weights sum to 1 at the border too."""
    distance = np.arange(size_px)[:, None] - np.arange(size_px)
    weights = np.exp(-(distance**2) / (2 * sigma_px**2))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def orientations(images: Float[ndarray, "n s s"]) -> Float[ndarray, "8 n s s"]:
    """Four quarter turns, and the same of the mirror image."""
    return np.stack(
        [
            np.rot90(mirrored, turns, axes=(1, 2))
            for mirrored in (images, images[:, :, ::-1])
            for turns in range(4)
        ]
    )


def _unit(images: Float[ndarray, "*n s s"]) -> Float32[ndarray, "*n d"]:
    """Flat vectors of mean 0 and length 1, so that a product is a correlation.

    Where an image is flat the length is 0.
    """
    flat = images.reshape(*images.shape[:-2], -1)
    flat = flat - flat.mean(-1, keepdims=True)
    length = np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-3)
    return (flat / length).astype(np.float32)


_BLUR, _CONTRAST_BLUR = _gaussian(FINE_PX, BLUR_PX), _gaussian(FINE_PX, CONTRAST_PX)

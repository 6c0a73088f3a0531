"""Near duplicates: the same picture again, resized, mirrored, turned by quarters, cropped a little,
recompressed or recoloured.

Two passes over 64x64 thumbnails. The first compares every pair coarsely, 8x8 px against every
orientation and a few crops, and keeps what may be the same picture. The second looks at those
closely, 32x32 px with the coarse shading taken out and the contrast made even, so that pictures of
similar things (a dark lesion in the middle, the bright disc of a lens) fall away.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.images import to_rgb

THUMBNAIL_PX = 64
FLAT = 2.0
"""A thumbnail whose standard deviation is lower, in grey levels, shows nothing that could be
recognised.
"""
COARSE_PX, COARSE_ALIKE = 8, 0.965
FINE_PX, ALIKE = 32, 0.86
"""Correlations from 0 to 1. Changed copies of isic2018 reach 0.92 at least; different pictures of
the sample set, all seen through one lens, 0.853.
"""
BLUR_PX = 2.0
EVEN_PX, EVEN_FLOOR = 3.0, 4.0
"""Details are divided by their strength around them, within so many pixels, and by so many grey
levels at least: what is weaker is noise.
"""
PER_IMAGE = 20
"""At most so many candidates of one image are looked at closely: a set of many alike is linked all
the same.
"""
ROWS = 256

Window = tuple[float, float, float]
"""Top, left and side of a square part, as shares of the image."""
WHOLE: Window = (0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images, by their positions, and how alike they are: the correlation of their details, 1
    for copies.
    """

    first: int
    second: int
    similarity: float


def thumbnail(image: UInt8[ndarray, "h w c"]) -> UInt8[ndarray, "64 64"]:
    """What is left of an image to compare it by."""
    grey = (
        Image.fromarray(to_rgb(image))
        .resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX, reducing_gap=2.0)
        .convert("L")
    )
    return np.asarray(grey)


def near_duplicates(thumbnails: UInt8[ndarray, "n 64 64"]) -> list[DuplicatePair]:
    """The pairs that are one picture, the most alike first. Takes about 20 s for 10,000 images, and
    four times that for twice as many.
    """
    found: dict[tuple[int, int], float] = {}
    for first, second, orientation in _candidates(thumbnails):
        likeness = _similarity(thumbnails[first], thumbnails[second], orientation)
        for a, b, value in zip(first.tolist(), second.tolist(), likeness.tolist(), strict=True):
            key = (min(a, b), max(a, b))
            found[key] = max(value, found.get(key, 0.0))
    pairs = [
        DuplicatePair(a, b, min(value, 1.0)) for (a, b), value in found.items() if value >= ALIKE
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def connected_components(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items the lowest item that it is linked with, directly or by way of
    others.
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
    """Positions of pairs that may be one picture, and the orientation (0..7) of the second that
    fits the first.
    """
    told = thumbnails.reshape(len(thumbnails), -1).std(1) >= FLAT
    whole = _reduce(thumbnails, [WHOLE], COARSE_PX)[:, 0] * told[:, None, None]
    oriented = _unit(_orientations(whole)).reshape(8, len(thumbnails), -1)
    parts = _unit(
        _reduce(thumbnails, _windows((0.0, 0.025, 0.05), (0.05,)), COARSE_PX)
        * told[:, None, None, None]
    )  # (n, parts, 64)
    for start in range(0, len(thumbnails), ROWS):
        rows = parts[start : start + ROWS]
        best: Float32[ndarray, "rows n"] = np.zeros((len(rows), len(thumbnails)), np.float32)
        alike = np.empty_like(best)
        for part in range(rows.shape[1]):
            left = np.ascontiguousarray(rows[:, part])
            for turned in oriented:
                np.matmul(left, turned.T, out=alike)
                np.maximum(best, alike, out=best)
        best[np.arange(len(rows)), np.arange(start, start + len(rows))] = 0
        first, second = np.nonzero(best >= COARSE_ALIKE)
        if len(first) > PER_IMAGE * len(rows):
            least = np.partition(best, -min(PER_IMAGE, best.shape[1]), axis=1)[
                :, -min(PER_IMAGE, best.shape[1])
            ]
            first, second = np.nonzero(best >= np.maximum(least[:, None], COARSE_ALIKE))
        if len(first):
            by_orientation = np.stack(
                [np.einsum("cpd,cd->cp", rows[first], turned[second]).max(1) for turned in oriented]
            )
            yield first + start, second, by_orientation.argmax(0)


def _similarity(
    first: UInt8[ndarray, "c 64 64"],
    second: UInt8[ndarray, "c 64 64"],
    orientation: Int64[ndarray, " c"],
) -> Float32[ndarray, " c"]:
    """The best correlation of the details of some part of the first with the whole of the second,
    turned.
    """
    best = np.zeros(len(first), np.float32)
    whole = _details(second, [WHOLE])[:, 0]
    turned = _orientations(whole)[orientation, np.arange(len(second))]
    right = _unit(turned)
    windows = _windows((0.0, 0.0125, 0.025, 0.0375, 0.05), (0.0, 0.05, 0.1))
    for start in range(0, len(first), ROWS):
        left = _unit(_details(first[start : start + ROWS], windows))  # (c, windows, 1024)
        best[start : start + ROWS] = np.einsum("cwd,cd->cw", left, right[start : start + ROWS]).max(
            1
        )
    return best


def _windows(at_95: Sequence[float], at_90: Sequence[float]) -> list[Window]:
    """The whole, and parts of 95 % and 90 % of the side at these offsets."""
    return [
        WHOLE,
        *((y, x, 0.95) for y in at_95 for x in at_95),
        *((y, x, 0.9) for y in at_90 for x in at_90),
    ]


def _reduce(
    thumbnails: UInt8[ndarray, "n 64 64"], windows: Sequence[Window], size: int
) -> Float32[ndarray, "n w s s"]:
    """Parts of the thumbnails at another size, by the mean over each new pixel's area."""
    rows = np.stack([_area_mean(size, top, side) for top, _, side in windows])
    columns = np.stack([_area_mean(size, left, side) for _, left, side in windows])
    return _sandwich(rows, thumbnails, columns)


def _details(
    thumbnails: UInt8[ndarray, "n 64 64"], windows: Sequence[Window]
) -> Float32[ndarray, "n w s s"]:
    """Parts of the thumbnails without their coarse shading, by taking a Gaussian blur away, and of
    even contrast.
    """
    rows = np.stack([_area_mean(FINE_PX, top, side) for top, _, side in windows])
    columns = np.stack([_area_mean(FINE_PX, left, side) for _, left, side in windows])
    details = _sandwich(rows, thumbnails, columns) - _sandwich(
        _BLUR @ rows, thumbnails, _BLUR @ columns
    )
    strength = np.maximum(_EVEN @ details**2 @ _EVEN.T, 0) + np.float32(EVEN_FLOOR**2)
    return details / np.sqrt(strength)


def _sandwich(
    rows: Float32[ndarray, "w s 64"],
    thumbnails: UInt8[ndarray, "n 64 64"],
    columns: Float32[ndarray, "w s 64"],
) -> Float32[ndarray, "n w s s"]:
    """rows @ thumbnail @ columns.T of every thumbnail and window, as few large products instead of
    many small ones.
    """
    windows, size, _ = rows.shape
    count = len(thumbnails)
    right = (
        thumbnails.astype(np.float32).reshape(-1, THUMBNAIL_PX)
        @ columns.reshape(-1, THUMBNAIL_PX).T
    )  # (n 64, w s)
    by_row = (
        right.reshape(count, THUMBNAIL_PX, windows, size)
        .transpose(2, 1, 0, 3)
        .reshape(windows, THUMBNAIL_PX, -1)
    )
    return (rows @ by_row).reshape(windows, size, count, size).transpose(2, 0, 1, 3)


def _area_mean(size: int, start: float, side: float) -> Float32[ndarray, "s 64"]:
    """The matrix that averages a part of 64 px into `size` px."""
    edges = (start + side * np.linspace(0, 1, size + 1)) * THUMBNAIL_PX
    pixels = np.arange(THUMBNAIL_PX)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / np.diff(edges)[:, None]).astype(np.float32)


def _blur(size: int, sigma_px: float) -> Float32[ndarray, "s s"]:
    """The matrix of a Gaussian blur whose weights sum to 1 at the border too."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-(distance**2) / (2 * sigma_px**2))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _orientations(images: Float[ndarray, "n s s"]) -> Float[ndarray, "8 n s s"]:
    """Four quarter turns, and the same of the mirror image."""
    return np.stack(
        [
            np.rot90(flipped, turns, axes=(1, 2))
            for flipped in (images, images[:, :, ::-1])
            for turns in range(4)
        ]
    )


def _unit(images: Float[ndarray, "*n s s"]) -> Float32[ndarray, "*n d"]:
    """Flat vectors of mean 0 and length 1, so that a product is a correlation; of length 0 where
    there is nothing to see.
    """
    flat = images.reshape(*images.shape[:-2], -1)
    flat = flat - flat.mean(-1, keepdims=True)
    return (flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-3)).astype(
        np.float32
    )


_BLUR, _EVEN = _blur(FINE_PX, BLUR_PX), _blur(FINE_PX, EVEN_PX)

"""Small fingerprints of images, by which a model knows its training images when they were saved
anew: as JPEG, at another size, brighter, mirrored or turned by quarters.

A fingerprint is 256 bits: where the details of a thumbnail of 16x16 px are brighter than most. Two
are compared by their bits that differ. Images through one lens share many bits, so the bits that
may differ are a share of what differs between two training images.
"""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from numpy import ndarray

from limner.data.check_sample import INSPECTED_PX
from limner.data.duplicates import (
    MIN_CONTRAST,
    WHOLE,
    orientations,
    thumbnail,
    thumbnail_details,
)
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.sample import Sample
from limner.errors import LimnerError

FINGERPRINT_PX = 16
FINGERPRINT_BYTES = FINGERPRINT_PX**2 // 8
MAX_BITS, MAX_SHARE = 24, 0.2
"""Bits that differ between copies: at most so many, and this share of what differs on average.

Copies of isic2018, camvid, nuclei and vessels, saved as JPEG of quality 50 or at another size, have
a median of 10 at most. Different images have 32 at least, but for frames of a camera that stands.
"""
SAME_NAME_SHARE = 0.4
"""The share where the image also has the name of the other one."""


def fingerprints(thumbnails: UInt8[ndarray, "n 64 64"]) -> UInt8[ndarray, "n 32"]:
    """Compute the fingerprint of each thumbnail; zeros for one that shows nothing."""
    return _fingerprints(thumbnail_details(thumbnails, [WHOLE])[:, 0], _shows_something(thumbnails))


def pack_fingerprints(packed: UInt8[ndarray, "n 32"]) -> str:
    """Fingerprints as the text of a model's record, 43 characters for each."""
    return base64.b64encode(packed.tobytes()).decode()


def unpack_fingerprints(text: str) -> UInt8[ndarray, "n 32"]:
    """Read what `pack_fingerprints` gave."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, FINGERPRINT_BYTES)


def read_thumbnails(
    samples: Sequence[Sample], progress: Progress | None = None
) -> dict[str, UInt8[ndarray, "64 64"]]:
    """Shrink the image of each sample, by id. Images that cannot be read are left out."""
    read = with_progress(map_in_order(_read_thumbnail, samples), len(samples), progress)
    return {
        sample.id: small for sample, small in zip(samples, read, strict=True) if small is not None
    }


def nearest_copies(
    thumbnails: UInt8[ndarray, "n 64 64"],
    known: UInt8[ndarray, "k 32"],
    same_names: Int64[ndarray, " n"],
) -> list[int | None]:
    """Find for each thumbnail the fingerprint that it is a copy of, in any orientation.

    Args:
        thumbnails: Of the images that are looked for.
        known: The fingerprints of the images that they may be copies of.
        same_names: For each thumbnail the position in `known` of the image with its name, or -1.

    Returns:
        A position in `known`, the first of several alike, or None.
    """
    present = np.flatnonzero(known.any(1))
    if not len(present) or not len(thumbnails):
        return [None] * len(thumbnails)
    typical = _typical_difference(known[present])
    limit = min(MAX_BITS, MAX_SHARE * typical)
    shown = _shows_something(thumbnails)
    # (8, n, 32)
    turned = np.stack(
        [
            _fingerprints(details, shown)
            for details in orientations(thumbnail_details(thumbnails, [WHOLE])[:, 0])
        ]
    )
    copies: list[int | None] = []
    for position, same_name in enumerate(same_names.tolist()):
        differing = np.bitwise_count(turned[:, position, None] ^ known[present]).sum(
            -1, dtype=np.int64
        )
        nearest = int(differing.min(0).argmin())
        copy = int(present[nearest]) if differing[:, nearest].min() <= limit else None
        if copy is None and same_name >= 0 and known[same_name].any():
            bits = np.bitwise_count(turned[0, position] ^ known[same_name]).sum(dtype=np.int64)
            copy = same_name if bits <= SAME_NAME_SHARE * typical else None
        copies.append(copy if shown[position] else None)
    return copies


def _read_thumbnail(sample: Sample) -> UInt8[ndarray, "64 64"] | None:
    try:
        return thumbnail(sample.read_image_with_info(INSPECTED_PX)[0])
    except LimnerError:
        return None


def _shows_something(thumbnails: UInt8[ndarray, "n 64 64"]) -> Bool[ndarray, " n"]:
    return thumbnails.reshape(len(thumbnails), -1).std(1) >= MIN_CONTRAST


def _fingerprints(
    details: Float32[ndarray, "n 32 32"], shown: Bool[ndarray, " n"]
) -> UInt8[ndarray, "n 32"]:
    """The bits of details that are above the median of their image."""
    count = len(details)
    factor = details.shape[1] // FINGERPRINT_PX
    shape = (count, FINGERPRINT_PX, factor, FINGERPRINT_PX, factor)
    small = details.reshape(shape).mean((2, 4)).reshape(count, FINGERPRINT_PX**2)
    bits = small > np.median(small, axis=1, keepdims=True)
    return np.packbits(bits, axis=1) * shown[:, None].astype(np.uint8)


def _typical_difference(known: UInt8[ndarray, "k 32"]) -> float:
    """How many bits differ between two of the images, on average."""
    count = len(known)
    if count < 2:
        return FINGERPRINT_PX**2 / 2
    share = np.unpackbits(known, axis=1).mean(0)
    return float((2 * share * (1 - share)).sum() * count / (count - 1))

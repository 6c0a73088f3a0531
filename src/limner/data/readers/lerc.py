"""LERC-compressed pages: NaN, which it keeps as holes, and whether its numbers are exact."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

LERC = 34887
"""In the tag Compression."""
PARAMETERS_TAG = 50674
"""LercParameters: a version, and how the segments are compressed once more."""
DEFLATED, ZSTD = 1, 2
MAGIC = b"Lerc2 "
CHECKSUM_SINCE, DEPTH_SINCE, BLOBS_SINCE = 3, 4, 6
"""Versions of the header since which it has these fields."""
FLOATS = frozenset({6, 7})
"""Of the header's types."""
EXACT_INTEGERS = 0.5
"""The error at which integers come back as they were, for they are rounded."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a LERC blob says of its numbers."""

    depth: int
    """How many numbers a pixel has; bands that lie one after the other have a blob each."""
    is_float: bool
    largest_error: float


def holds_nan(page: Any) -> bool:
    """Tell whether NaN is a hole in a page, which tifffile fills with 0.

    Where the bands of a pixel differ in that, tifffile also confuses bands and rows.
    """
    is_plain = page.predictor == 1 and page.imagedepth == 1
    return bool(page.compression == LERC and page.dtype.kind == "f" and is_plain)


def read_lerc(page: Any) -> Float[ndarray, "*_"]:
    """Decode a page of floats, with NaN in its holes, in the shape that tifffile calls `shaped`."""
    import imagecodecs

    pixels = np.full(page.shaped, page.nodata, page.dtype)
    file = page.parent.filehandle
    for index, (offset, count) in enumerate(
        zip(page.dataoffsets, page.databytecounts, strict=True)
    ):
        if not count:
            continue
        file.seek(offset)
        blob = unwrap(page, file.read(count))
        values, mask = imagecodecs.lerc_decode(blob, masks=True)
        samples = page.shaped[-1]
        if mask is not None:
            holes = mask[..., None] if mask.ndim < values.ndim else mask
            values = np.where(holes, values, np.nan)
        if values.ndim == 3 and _read_header(blob).depth == 1:
            values = np.moveaxis(values, 0, -1)
        _, (apart, depth, top, left, _), _ = page.decode(None, index)
        part = pixels[apart, depth, top : top + values.shape[0], left : left + values.shape[1]]
        part[:] = values.reshape(*values.shape[:2], samples)[: part.shape[0], : part.shape[1]]
    return pixels


def unwrap(page: Any, content: bytes) -> bytes:
    """Undo the second compression of a segment."""
    import imagecodecs

    parameters = page.tags.valueof(PARAMETERS_TAG) or (0, 0)
    if parameters[1] == DEFLATED:
        return bytes(imagecodecs.zlib_decode(content))
    if parameters[1] == ZSTD:
        return bytes(imagecodecs.zstd_decode(content))
    return content


def is_lossy_lerc(blob: bytes) -> bool:
    """Tell by a LERC blob whether its numbers may differ from those that were written."""
    if not blob.startswith(MAGIC):
        return False
    header = _read_header(blob)
    return header.largest_error > (0 if header.is_float else EXACT_INTEGERS)


def _read_header(blob: bytes) -> _Header:
    (version,) = struct.unpack_from("<i", blob, len(MAGIC))
    # After the version come a checksum, height and width
    position = len(MAGIC) + 4 + 4 * (version >= CHECKSUM_SINCE) + 8
    depth = 1
    if version >= DEPTH_SINCE:
        (depth,) = struct.unpack_from("<i", blob, position)
        position += 4
    # Then how many pixels are valid, the block's size, the blob's length, and the type
    (kind,) = struct.unpack_from("<i", blob, position + 12)
    # Further blobs and flags
    position += 16 + 8 * (version >= BLOBS_SINCE)
    (largest_error,) = struct.unpack_from("<d", blob, position)
    return _Header(depth, kind in FLOATS, largest_error)

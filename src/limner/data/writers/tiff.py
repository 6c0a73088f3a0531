"""Write TIFF: images of any number of channels, and masks of any size as compressed tiles."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.readers.georeference import ExtraTag
from limner.data.readers.pixel_size import UM_PER, PixelSize
from limner.files import atomic_file

TILE_PX = 256
"""The side of the tiles."""
DEFLATE, HORIZONTAL = 8, 2
"""Compression and predictor, by their numbers in TIFF."""


def encode_tiff(pixels: UInt8[ndarray, "h w c"]) -> bytes:
    """Encode an image of any number of channels as TIFF."""
    import tifffile

    content = io.BytesIO()
    tifffile.imwrite(
        content, pixels, photometric="minisblack", planarconfig="contig", compression="zlib"
    )
    return content.getvalue()


def write_class_tiff(path: Path, mask: UInt8[ndarray, "h w"], tags: Sequence[ExtraTag]) -> None:
    """Write a grey tiled TIFF with further tags, such as those of a map."""
    _write_plane(path, mask, metadata=None, extratags=list(tags))


def write_ome_tiff(
    path: Path, mask: UInt8[ndarray, "h w"], size: PixelSize | None, description: str
) -> None:
    """Write an OME-TIFF of one plane.

    Args:
        path: The file, which ends in .ome.tif.
        mask: Its values.
        size: Of a pixel; None where it is not known.
        description: What the values mean.
    """
    metadata: dict[str, object] = {"axes": "YX", "Description": description}
    if size is not None and size.unit in UM_PER:
        for axis, side in (("Y", size.height), ("X", size.width)):
            metadata[f"PhysicalSize{axis}"] = side
            metadata[f"PhysicalSize{axis}Unit"] = size.unit
    _write_plane(path, mask, ome=True, metadata=metadata)


def _write_plane(path: Path, mask: UInt8[ndarray, "h w"], **options: Any) -> None:
    """Write a grey plane in compressed tiles."""
    import tifffile

    tifffile.imwrite(
        path,
        mask,
        photometric="minisblack",
        tile=(TILE_PX, TILE_PX),
        compression="zlib",
        **options,
    )


def write_tiled_tiff(
    path: Path, size_px: tuple[int, int], bands: Iterable[UInt8[ndarray, "_ w"]]
) -> None:
    """Write a grey tiled TIFF atomically, band by band.

    Args:
        path: The file.
        size_px: Height and width of the whole image.
        bands: From top to bottom, each of `TILE_PX` rows; the last may have fewer.
    """
    write_compressed_tiles(path, size_px, (tile for band in bands for tile in compress_tiles(band)))


def compress_tiles(band: UInt8[ndarray, "h w"]) -> Iterator[bytes]:
    """Cut a band of at most `TILE_PX` rows into tiles, and compress each.

    Rows are packed as differences to the pixel before (predictor 2), by libdeflate: in a seventh of
    the time of zlib, and smaller.
    """
    padded = np.pad(band, ((0, TILE_PX - band.shape[0]), (0, -band.shape[1] % TILE_PX)))
    for left in range(0, padded.shape[1], TILE_PX):
        tile = padded[:, left : left + TILE_PX]
        differences = np.diff(tile, axis=1, prepend=np.uint8(0))
        yield bytes(imagecodecs.deflate_encode(differences.tobytes(), level=1))


def write_compressed_tiles(path: Path, size_px: tuple[int, int], tiles: Iterable[bytes]) -> None:
    """Write a grey TIFF atomically from tiles of `compress_tiles`, row by row."""
    import tifffile

    with atomic_file(path) as part:
        tifffile.imwrite(
            part,
            iter(tiles),
            shape=size_px,
            dtype=np.uint8,
            tile=(TILE_PX, TILE_PX),
            compression=DEFLATE,
            predictor=HORIZONTAL,
            photometric="minisblack",
            metadata=None,
        )

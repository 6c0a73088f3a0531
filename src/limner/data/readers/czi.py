"""Read CZI, which Zeiss's microscopes write, with czifile: scenes, slices and times as images."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)
from limner.data.readers.pixel_size import PixelSize, to_pixel_size
from limner.data.readers.planes import PlaneFile, decode_plane, needs_package, open_planes

NAME = "CZI"
SUFFIXES = frozenset({".czi"})
HOLDS_PAGES = True
EXTRA = "microscopy"
ZSTD_WITH_HEADER = 6
ZSTD = frozenset({5, ZSTD_WITH_HEADER})
"""Codes of compression that are not in czifile."""
IN_PLANE = frozenset("YXCM0")
"""Axes that do not number images: rows, columns, channels, tiles of a mosaic, colours."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """A part of a plane, at full resolution."""

    entry: Any
    starts: Mapping[str, int]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Image:
    """The tiles of one image, and the rectangle that they cover."""

    tiles: Sequence[_Tile]
    top: int
    left: int
    height: int
    width: int


def recognises(start: bytes) -> bool:
    return start.startswith(b"ZISRAWFILE")


def read_header(file: BinaryFile) -> ImageHeader:
    return open_planes(file, _open).header


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    with needs_package("CZI", EXTRA), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from czifile import CziFile

        content = CziFile(file)
        images = _list_images(content)
        channels = sorted({tile.starts.get("C", 0) for image in images for tile in image.tiles})
        colours = int(np.prod(np.dtype(content.filtered_subblock_directory[0].dtype).shape))
        size = _pixel_size(content.metadata())
    if not images:
        raise ValueError("it holds no image at full resolution")
    sizes = {(image.height, image.width) for image in images}
    if len(sizes) > 1:
        raise UnsupportedImageError(
            f"holds images of {len(sizes)} sizes (scenes). Export each as OME-TIFF or CZI of its "
            "own, for example with ZEN or Fiji."
        )
    height, width = sizes.pop()
    count = max(colours, 1) * len(channels)
    header = ImageHeader(
        height, width, pages=len(images), pixel_bytes=2 * count, stored_pixel_size=size
    )

    def read(page: int) -> Pixels:
        planes = [_read_channel(images[page], channel) for channel in channels]
        return planes[0] if len(planes) == 1 else np.dstack(planes)

    return PlaneFile(header, read, separate_channels=len(channels) > 1)


def _list_images(content: Any) -> list[_Image]:
    """Group the tiles at full resolution into images: by scene, slice, time and the like."""
    groups: dict[tuple[tuple[str, int], ...], list[_Tile]] = {}
    for entry in content.subblock_directory:
        dimensions = {each.dimension: each for each in entry.dimension_entries}
        if any(dimensions[axis].stored_size != dimensions[axis].size for axis in "YX"):
            # Of the pyramid
            continue
        starts = {name: int(each.start) for name, each in dimensions.items()}
        sizes = {name: int(each.size) for name, each in dimensions.items()}
        key = tuple(sorted((name, at) for name, at in starts.items() if name not in IN_PLANE))
        groups.setdefault(key, []).append(_Tile(entry, starts, sizes))
    return [_bounded(groups[key]) for key in sorted(groups)]


def _bounded(tiles: Sequence[_Tile]) -> _Image:
    top, left = (min(tile.starts[axis] for tile in tiles) for axis in "YX")
    bottom, right = (max(tile.starts[axis] + tile.sizes[axis] for tile in tiles) for axis in "YX")
    return _Image(tiles, top, left, bottom - top, right - left)


def _read_channel(image: _Image, channel: int) -> Pixels:
    """Assemble the tiles of a channel; later tiles of a mosaic lie on top."""
    tiles = [tile for tile in image.tiles if tile.starts.get("C", 0) == channel]
    tiles.sort(key=lambda tile: tile.starts.get("M", 0))
    plane: Pixels | None = None
    for tile in tiles:
        pixels = _read_tile(tile)
        if plane is None:
            plane = np.zeros((image.height, image.width, *pixels.shape[2:]), pixels.dtype)
        top, left = tile.starts["Y"] - image.top, tile.starts["X"] - image.left
        plane[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    if plane is None:
        raise ValueError(f"channel {channel} is missing in one of its images")
    return plane


def _read_tile(tile: _Tile) -> Pixels:
    entry = tile.entry
    segment = entry.data_segment()
    if entry.compression in ZSTD:
        pixels = _unpack_zstd(segment.data(raw=True), entry)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(segment.data(resize=False))
    colours = pixels.shape[-1]
    plane = pixels.reshape(tile.sizes["Y"], tile.sizes["X"], colours)
    return plane[..., 0] if colours == 1 else plane[..., :3]


def _unpack_zstd(content: bytes, entry: Any) -> Pixels:
    """Decode a tile in Zstandard, which czifile does not.

    The second kind has a header of its own size, and may keep the low bytes of all values before
    their high bytes.
    """
    start, is_split = 0, False
    if entry.compression == ZSTD_WITH_HEADER:
        start = content[0]
        is_split = start >= 3 and content[1] == 1 and bool(content[2] & 1)
    values = np.frombuffer(imagecodecs.zstd_decode(content[start:]), np.uint8)
    if is_split:
        values = np.ascontiguousarray(values.reshape(2, -1).T).ravel()
    pixels = values.view(np.dtype(entry.dtype).base).reshape(entry.stored_shape)
    # Colours are stored as blue, green and red
    return pixels[..., ::-1] if pixels.shape[-1] == 3 else pixels


def _pixel_size(metadata: str | None) -> PixelSize | None:
    """Read the scaling in metres."""
    if not metadata:
        return None
    root = ElementTree.fromstring(metadata)
    values = {
        distance.get("Id", ""): (distance.findtext("Value") or "")
        for distance in root.findall("./Metadata/Scaling/Items/Distance")
    }
    size = to_pixel_size(values.get("Y"), values.get("X"), "m")
    return size.in_unit("µm") if size else None

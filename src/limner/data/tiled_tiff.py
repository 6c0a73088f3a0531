"""Read any part of a TIFF without the rest, so that one larger than the memory can be segmented."""

import weakref
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.readers.decoded import UnsupportedImageError
from limner.data.readers.extra_band import drops_last_band, judge_extra_band
from limner.data.readers.tiff import page_orientation
from limner.data.readers.tiff_images import TiffContent, TiffImage, list_images, quiet_tifffile
from limner.data.readers.tiff_nodata import read_nodata, valid_numbers
from limner.data.readers.tiff_pixel_size import tiff_pixel_size
from limner.data.readers.tiff_pixels import photometric
from limner.data.views import Box
from limner.errors import LimnerError

CACHE_BYTES = 128 * 1024 * 1024
"""Of decoded segments, since neighbours are asked for together."""
MAX_SEGMENT_BYTES = 512 * 1024 * 1024
"""Of a compressed segment once it is decoded."""
LAST_BAND_ROWS = 16
"""How many rows tell what the last band is."""
JPEG = 7
"""In the tag Compression."""
INTERLEAVED = 1
"""In the tag PlanarConfiguration (TIFF 6.0)."""


class TiledTiff:
    """An 8-bit TIFF, grey or colour, of which only the segments that are asked for are decoded.

    A segment is a strip or a tile. It is safe to read from several threads.

    Args:
        path: The file.
        channels: How many channels the image is to have, as for `images.read_image`.

    Raises:
        LimnerError: The file is of another kind, or a segment that is read is damaged.
    """

    def __init__(self, path: Path, channels: int | None = None) -> None:
        self._path = path
        file = quiet_tifffile().TiffFile(path)
        weakref.finalize(self, file.close)
        content = self._list_images(file)
        self._page: Any = content.images[0].page
        self.size_px = (int(self._page.imagelength), int(self._page.imagewidth))
        self._check_kind(content.images)
        self.pixel_size = tiff_pixel_size(self._page)
        lock = Lock()
        self._segments = _Segments(path, self._page, lock)
        transparency = content.images[0].transparency
        self._shown = None if transparency is None else _Segments(path, transparency, lock)
        self._nodata = read_nodata(self._page)
        stored = self._segments.samples
        judged = judge_extra_band(self._page, self._some_rows())
        self._colours = stored - drops_last_band(judged, stored, channels)
        self.channels = 3 if self._colours == 1 else self._colours
        self.stored_channels = self._colours

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        """Read a part of the image; grey gives RGB, alpha is dropped, and no data is 0."""
        stored, valid = self.read_stored(box)
        if valid is not None:
            stored[~valid] = 0
        return np.repeat(stored, 3, axis=2) if self._colours == 1 else stored

    def read_stored(
        self, box: Box
    ) -> tuple[UInt8[ndarray, "h w c"], Bool[ndarray, "h w c"] | None]:
        """Read the stored numbers of a part, without alpha, and which of them are measurements.

        None stands for all of them.
        """
        stored = self._segments.read(box)[..., : self._colours]
        valid = None
        if self._nodata is not None:
            valid = valid_numbers(self._page, stored, self._nodata)
        if self._shown is not None:
            shown = np.broadcast_to(self._shown.read(box)[..., :1] != 0, stored.shape)
            valid = shown if valid is None else valid & shown
        return stored, valid

    def _list_images(self, file: Any) -> TiffContent:
        try:
            return list_images(file)
        except UnsupportedImageError as error:
            raise LimnerError(f"{self._path} {error}") from error
        except ValueError as error:
            raise _damaged(self._path, error) from error

    def _check_kind(self, images: tuple[TiffImage, ...]) -> None:
        page, kind = self._page, photometric(self._page)
        is_ycbcr_jpeg = (kind, page.compression) == ("YCBCR", JPEG)
        is_8_bit = page.dtype == np.uint8 and page.bitspersample == 8
        obstacles = {
            f"pixels of type {page.dtype} in {page.bitspersample} bits": not is_8_bit,
            f"colours of the kind {kind}": kind not in {"MINISBLACK", "RGB"} and not is_ycbcr_jpeg,
            "planes one after the other": page.planarconfig != INTERLEAVED
            or len(images[0].planes) > 1,
            "several images": len(images) > 1,
            "a turn": page_orientation(page) != 1,
        }
        if present := [name for name, is_present in obstacles.items() if is_present]:
            raise LimnerError(
                f"{self._path} has {self.size_px[1]}x{self.size_px[0]} pixels, so it is read part "
                f"by part. It cannot be, since it has {', '.join(present)}. Export it as one "
                "upright image of 8 bits, grey or RGB, in tiles."
            )

    def _some_rows(self) -> UInt8[ndarray, "h w s"]:
        """Read rows from top to bottom, if there is a last band that must be judged by them."""
        height, width = self.size_px
        if not self._page.extrasamples:
            return np.zeros((1, 1, self._segments.samples), np.uint8)
        tops = np.linspace(0, height - 1, LAST_BAND_ROWS).astype(int).tolist()
        return np.concatenate([self._segments.read(Box(top, 0, 1, width)) for top in tops])


class _Segments:
    """The numbers of one page, of which only the segments that are asked for are decoded."""

    def __init__(self, path: Path, page: Any, lock: Lock) -> None:
        self._path, self._page, self._lock = path, page, lock
        self._file = page.parent.filehandle
        self._width = int(page.imagewidth)
        self.samples = int(page.samplesperpixel)
        self._segment_px = _segment_size(page)
        # Where pixels begin that are not compressed and lie row after row
        self._raw_offset: int | None = page.dataoffsets[0] if page.is_memmappable else None
        self._cache: OrderedDict[int, UInt8[ndarray, "h w s"] | Bool[ndarray, "h w s"]]
        self._cache = OrderedDict()
        self._cached_bytes = 0
        segment_bytes = self._segment_px[0] * self._segment_px[1] * self.samples
        if self._raw_offset is None and segment_bytes > MAX_SEGMENT_BYTES:
            raise LimnerError(
                f"{path} is compressed in parts of {segment_bytes:,} bytes, and none can be "
                "read without all of it. Export it in tiles."
            )

    def read(self, box: Box) -> UInt8[ndarray, "h w s"]:
        """Read a part with all samples; True is 1."""
        pixels = np.empty((box.height, box.width, self.samples), np.uint8)
        if self._raw_offset is not None:
            self._read_raw(pixels, box, self._raw_offset)
            return pixels
        (height, width), bottom, right = (
            self._segment_px,
            box.top + box.height,
            box.left + box.width,
        )
        segments_across = -(-self._width // width)
        for row in range(box.top // height, -(-bottom // height)):
            for column in range(box.left // width, -(-right // width)):
                segment = self._segment(row * segments_across + column)
                _copy_overlap(segment, (row * height, column * width), pixels, (box.top, box.left))
        return pixels

    def _read_raw(self, pixels: UInt8[ndarray, "h w s"], box: Box, raw_offset: int) -> None:
        with self._lock:
            for row, line in enumerate(pixels, start=box.top):
                first_pixel = row * self._width + box.left
                self._file.seek(raw_offset + first_pixel * self.samples)
                if self._file.readinto(line) < line.nbytes:
                    raise _damaged(self._path, "the file ends before its pixels do")

    def _segment(self, index: int) -> UInt8[ndarray, "h w s"] | Bool[ndarray, "h w s"]:
        """Decode a segment, or take it from the cache."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
            try:
                segment = self._decode_segment(index)
            # Hostile bytes may raise anything
            except Exception as error:
                raise _damaged(self._path, error) from error
            self._cache[index] = segment
            self._cached_bytes += segment.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
            return segment

    def _decode_segment(self, index: int) -> UInt8[ndarray, "h w s"] | Bool[ndarray, "h w s"]:
        page = self._page
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not offset and not count:
            # GDAL leaves out tiles of one value
            return np.full((*self._segment_px, self.samples), page.nodata, page.dtype)
        self._file.seek(offset)
        content = self._file.read(count)
        if not count or len(content) < count:
            raise ValueError("the file ends before its pixels do")
        decoded, _, shape = page.decode(content, index, jpegtables=page.jpegtables)
        return np.ascontiguousarray(decoded[0, : shape[1], : shape[2]])


def _segment_size(page: Any) -> tuple[int, int]:
    """Height and width of a page's tiles or strips."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _damaged(path: Path, cause: object) -> LimnerError:
    return LimnerError(
        f"{path} is damaged: {str(cause).rstrip('.')}. It must decode whole: copy or export it "
        "again."
    )


def _copy_overlap(
    source: UInt8[ndarray, "h w s"] | Bool[ndarray, "h w s"],
    source_origin: tuple[int, int],
    target: UInt8[ndarray, "h2 w2 s"],
    target_origin: tuple[int, int],
) -> None:
    """Copy what two parts of one image share; an origin is the part's first row and column."""
    source_slices, target_slices = [], []
    for axis in (0, 1):
        start = max(source_origin[axis], target_origin[axis])
        stop = min(
            source_origin[axis] + source.shape[axis], target_origin[axis] + target.shape[axis]
        )
        source_slices.append(slice(start - source_origin[axis], stop - source_origin[axis]))
        target_slices.append(slice(start - target_origin[axis], stop - target_origin[axis]))
    target[tuple(target_slices)] = source[tuple(source_slices)]

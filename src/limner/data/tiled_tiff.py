"""Read any part of a TIFF without the rest, so that one larger than the memory can be segmented."""

import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.readers.extra_band import ALPHA_KINDS, is_opaque
from limner.data.readers.tiff import page_orientation
from limner.data.readers.tiff_images import REDUCED_COPY_FLAG
from limner.data.views import Box
from limner.errors import LimnerError

CACHE_BYTES = 128 * 1024 * 1024
"""Of decoded segments, since neighbours are asked for together."""
MAX_SEGMENT_BYTES = 512 * 1024 * 1024
"""Of a compressed segment once it is decoded."""
ALPHA_TEST_ROWS = 16
"""How many rows tell an opaque alpha from a channel of the image."""
JPEG = 7
"""In the tag Compression."""
INTERLEAVED = 1
"""In the tag PlanarConfiguration (TIFF 6.0)."""


class TiledTiff:
    """An 8-bit TIFF, grey or colour, of which only the segments that are asked for are decoded.

    A segment is a strip or a tile. It is safe to read from several threads.

    Raises:
        LimnerError: The file is of another kind, or a segment that is read is damaged.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path, self._lock = path, Lock()
        self._file = tifffile.TiffFile(path)
        weakref.finalize(self, self._file.close)
        self._page: Any = self._file.pages.first
        self.size_px = (int(self._page.imagelength), int(self._page.imagewidth))
        self._check_kind()
        self._stored_channels = int(self._page.samplesperpixel)
        self._segment_px = self._segment_size()
        # Where pixels begin that are not compressed and lie row after row
        self._raw_offset: int | None = (
            self._page.dataoffsets[0] if self._page.is_memmappable else None
        )
        self._cache: OrderedDict[int, UInt8[ndarray, "h w s"]] = OrderedDict()
        self._cached_bytes = 0
        self._check_segment_bytes()
        self._colours = self._stored_channels - self._has_alpha()
        self.channels = 3 if self._colours == 1 else self._colours

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        """Read a part of the image; grey gives RGB, and alpha is dropped."""
        stored = self._read_stored(box)
        if self._colours == 1:
            return np.repeat(stored[..., :1], 3, axis=2)
        return stored[..., : self._colours]

    def _check_kind(self) -> None:
        page = self._page
        kind = getattr(page.photometric, "name", page.photometric)
        is_ycbcr_jpeg = (kind, page.compression) == ("YCBCR", JPEG)
        pages: list[Any] = list(self._file.pages)
        full_size = [other for other in pages if not other.subfiletype & REDUCED_COPY_FLAG]
        obstacles = {
            f"pixels of type {page.dtype}": page.dtype != np.uint8,
            f"colours of the kind {kind}": kind not in {"MINISBLACK", "RGB"} and not is_ycbcr_jpeg,
            "planes one after the other": page.planarconfig != INTERLEAVED,
            "several images": len(full_size) > 1,
            "a turn": page_orientation(page) != 1,
        }
        if present := [name for name, is_present in obstacles.items() if is_present]:
            raise LimnerError(
                f"{self._path} has {self.size_px[1]}x{self.size_px[0]} pixels, so it is read part "
                f"by part. It cannot be, since it has {', '.join(present)}. Export it as one "
                "upright image of 8 bits, grey or RGB, in tiles."
            )

    def _check_segment_bytes(self) -> None:
        segment_bytes = self._segment_px[0] * self._segment_px[1] * self._stored_channels
        if self._raw_offset is None and segment_bytes > MAX_SEGMENT_BYTES:
            raise LimnerError(
                f"{self._path} is compressed in parts of {segment_bytes:,} bytes, and none can be "
                "read without all of it. Export it in tiles."
            )

    def _segment_size(self) -> tuple[int, int]:
        if self._page.is_tiled:
            return int(self._page.tilelength), int(self._page.tilewidth)
        height, width = self.size_px
        return min(int(self._page.rowsperstrip), height), width

    def _has_alpha(self) -> bool:
        """Tell whether the last channel is alpha, as `read_image` does, which reads all of it."""
        extra = [int(kind) for kind in self._page.extrasamples]
        if not extra:
            return False
        return extra[-1] in ALPHA_KINDS or all(is_opaque(row) for row in self._last_channel_rows())

    def _last_channel_rows(self) -> Iterator[UInt8[ndarray, " w"]]:
        """Read the last channel of some rows, from top to bottom."""
        height, width = self.size_px
        for top in np.linspace(0, height - 1, ALPHA_TEST_ROWS).astype(int).tolist():
            yield self._read_stored(Box(top, 0, 1, width))[0, :, -1]

    def _read_stored(self, box: Box) -> UInt8[ndarray, "h w s"]:
        """Read a part with all channels of the file."""
        pixels = np.empty((box.height, box.width, self._stored_channels), np.uint8)
        if self._raw_offset is not None:
            self._read_raw(pixels, box, self._raw_offset)
            return pixels
        (height, width), bottom, right = (
            self._segment_px,
            box.top + box.height,
            box.left + box.width,
        )
        segments_across = -(-self.size_px[1] // width)
        for row in range(box.top // height, -(-bottom // height)):
            for column in range(box.left // width, -(-right // width)):
                segment = self._segment(row * segments_across + column)
                _copy_overlap(segment, (row * height, column * width), pixels, (box.top, box.left))
        return pixels

    def _read_raw(self, pixels: UInt8[ndarray, "h w s"], box: Box, raw_offset: int) -> None:
        file = self._file.filehandle
        with self._lock:
            for row, line in enumerate(pixels, start=box.top):
                first_pixel = row * self.size_px[1] + box.left
                file.seek(raw_offset + first_pixel * self._stored_channels)
                if file.readinto(line) < line.nbytes:
                    raise self._damaged("the file ends before its pixels do")

    def _segment(self, index: int) -> UInt8[ndarray, "h w s"]:
        """Decode a segment, or take it from the cache."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
            try:
                segment = self._decode_segment(index)
            # Hostile bytes may raise anything
            except Exception as error:
                raise self._damaged(error) from error
            self._cache[index] = segment
            self._cached_bytes += segment.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
            return segment

    def _decode_segment(self, index: int) -> UInt8[ndarray, "h w s"]:
        page = self._page
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        self._file.filehandle.seek(offset)
        content = self._file.filehandle.read(count)
        if not count or len(content) < count:
            raise ValueError("the file ends before its pixels do")
        decoded, _, shape = page.decode(content, index, jpegtables=page.jpegtables)
        return np.ascontiguousarray(decoded[0, : shape[1], : shape[2]])

    def _damaged(self, cause: object) -> LimnerError:
        return LimnerError(
            f"{self._path} is damaged: {str(cause).rstrip('.')}. It must decode whole: copy or "
            "export it again."
        )


def _copy_overlap(
    source: UInt8[ndarray, "h w s"],
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

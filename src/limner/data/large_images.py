"""Images that are read part by part, so that one larger than the memory can be segmented, and masks
that are written so.
"""

import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from limner.data.preprocess import Box
from limner.data.readers.exif import ORIENTATION_TAG
from limner.data.readers.tiff import is_opaque
from limner.data.resize import BAND_PIXELS, REDUCING_GAP
from limner.errors import LimnerError

LARGE_PIXELS = 100_000_000
"""A TIFF of more pixels is read part by part."""
KEPT_BYTES = 128 * 1024 * 1024
"""Of decoded parts, since neighbours are asked for together."""
JPEG = 7
ROWS_LOOKED_AT = 16
"""To tell a solid alpha from a channel of the image."""
MOST_PART_BYTES = 512 * 1024 * 1024
"""Of a compressed part once it is decoded."""


@runtime_checkable
class ImageReader(Protocol):
    """Pixels 0..255, upright, that give any part of themselves."""

    @property
    def size_px(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]: ...


class ArrayImage:
    """An image in memory."""

    def __init__(self, image: UInt8[ndarray, "h w c"]) -> None:
        self._image = image
        self.size_px, self.channels = (image.shape[0], image.shape[1]), image.shape[2]

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        return box.crop(self._image)


class TiledTiff:
    """A TIFF of 8 bits, grey or colour, of which only the strips or tiles that are asked for are
    decoded.

    Raises LimnerError where it is of another kind, and where a part that is looked at is damaged.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path, self._lock = path, Lock()
        self._file = tifffile.TiffFile(path)
        weakref.finalize(self, self._file.close)
        self._page: Any = self._file.pages.first
        page, pages = self._page, list[Any](self._file.pages)
        self.size_px = (int(page.imagelength), int(page.imagewidth))
        several = sum(not one.subfiletype & 1 for one in pages) > 1
        kind = getattr(page.photometric, "name", page.photometric)
        wrong = {
            f"pixels of type {page.dtype}": page.dtype != np.uint8,
            f"colours of the kind {kind}": kind not in {"MINISBLACK", "RGB"}
            and (kind, page.compression) != ("YCBCR", JPEG),
            "planes one after the other": page.planarconfig != 1,
            "several images": several,
            "a turn": page.tags.valueof(ORIENTATION_TAG, 1) != 1,
        }
        if found := [name for name, is_so in wrong.items() if is_so]:
            raise LimnerError(
                f"{path} has {self.size_px[1]}x{self.size_px[0]} pixels and is read part by part, which it hinders: it has {', '.join(found)}. "
                "Export it as one upright image of 8 bits, grey or RGB, in tiles."
            )
        self._samples = int(page.samplesperpixel)
        extra = [int(kind) for kind in page.extrasamples]
        self._bare: int | None = (
            page.dataoffsets[0] if page.is_memmappable else None
            # Where pixels begin that lie there as they are, be it as one strip
        )
        self._part_px = (
            (int(page.tilelength), int(page.tilewidth))
            if page.is_tiled
            else (min(int(page.rowsperstrip), self.size_px[0]), self.size_px[1])
        )
        part_bytes = self._part_px[0] * self._part_px[1] * self._samples
        if self._bare is None and part_bytes > MOST_PART_BYTES:
            raise LimnerError(
                f"{path} is compressed in parts of {part_bytes:,} bytes, and none can be read "
                "without all of it. Export it in tiles."
            )
        self._kept: OrderedDict[int, UInt8[ndarray, "h w s"]] = OrderedDict()
        self._kept_bytes = 0
        alpha = bool(extra) and (
            extra[-1] in {1, 2} or all(is_opaque(row) for row in self._last_of_rows())
            # As `read_image` has it, which looks at all
        )
        self._colours = self._samples - alpha
        self.channels = 3 if self._colours == 1 else self._colours

    def _last_of_rows(self) -> Iterator[UInt8[ndarray, " w"]]:
        """The last channel of some rows."""
        height, width = self.size_px
        for top in np.linspace(0, height - 1, ROWS_LOOKED_AT).astype(int).tolist():
            yield self._samples_of(Box(top, 0, 1, width))[0, :, -1]

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        found = self._samples_of(box)
        return (
            np.repeat(found[..., :1], 3, axis=2)
            if self._colours == 1
            else found[..., : self._colours]
        )

    def _samples_of(self, box: Box) -> UInt8[ndarray, "h w s"]:
        if self._bare is not None:
            return self._as_it_lies(box, self._bare)
        across = -(-self.size_px[1] // self._part_px[1])
        found = np.empty((box.height, box.width, self._samples), np.uint8)
        (height, width), bottom, right = self._part_px, box.top + box.height, box.left + box.width
        for row in range(box.top // height, -(-bottom // height)):
            for column in range(box.left // width, -(-right // width)):
                part = self._part(row * across + column)
                rows = slice(max(box.top, row * height), min(bottom, row * height + part.shape[0]))
                columns = slice(
                    max(box.left, column * width), min(right, column * width + part.shape[1])
                )
                found[
                    rows.start - box.top : rows.stop - box.top,
                    columns.start - box.left : columns.stop - box.left,
                ] = part[
                    rows.start - row * height : rows.stop - row * height,
                    columns.start - column * width : columns.stop - column * width,
                ]
        return found

    def _as_it_lies(self, box: Box, start: int) -> UInt8[ndarray, "h w s"]:
        found = np.empty((box.height, box.width, self._samples), np.uint8)
        with self._lock:
            for row, line in enumerate(found, start=box.top):
                self._file.filehandle.seek(
                    start + (row * self.size_px[1] + box.left) * self._samples
                )
                if self._file.filehandle.readinto(line) < line.nbytes:  # type: ignore[arg-type]
                    # Any buffer will do
                    raise self._damaged("the file ends before its pixels do")
        return found

    def _damaged(self, what: object) -> LimnerError:
        return LimnerError(
            f"{self._path} is damaged: {str(what).rstrip('.')}. It must decode whole: copy or "
            "export it again."
        )

    def _part(self, index: int) -> UInt8[ndarray, "h w s"]:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
            offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
            self._file.filehandle.seek(offset)
            data = self._file.filehandle.read(count)
            try:
                if not count or len(data) < count:
                    raise ValueError("the file ends before its pixels do")
                decoded, _, shape = self._page.decode(data, index, jpegtables=self._page.jpegtables)
                part = np.ascontiguousarray(decoded[0, : shape[1], : shape[2]])
            except Exception as error:
                # Hostile bytes may raise anything
                raise self._damaged(error) from error
            self._kept[index] = part
            self._kept_bytes += part.nbytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
            return part


def open_large_image(path: Path) -> TiledTiff | None:
    """A TIFF that is too large to be read at once; None of every other file. Raises LimnerError as
    `LargeTiff` does.
    """
    if path.suffix.lower() not in {".tif", ".tiff"}:
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            if int(page.imagelength) * int(page.imagewidth) <= LARGE_PIXELS:
                return None
    except Exception:  # noqa: BLE001
        # What is wrong with it, `read_image` says
        return None
    return TiledTiff(path)


def downsample(picture: ImageReader, size_px: tuple[int, int]) -> UInt8[ndarray, "h w c"]:
    """What `images.resize` makes of the whole picture, which is never in memory: reduced band by
    band, then resized.
    """
    height, width = picture.size_px
    factors = [
        max(1, int(side / size / REDUCING_GAP))
        for side, size in zip(picture.size_px, size_px, strict=True)
    ]
    rows = max(1, BAND_PIXELS // width // factors[0]) * factors[0]
    bands = []
    for top in range(0, height, rows):
        band = picture.read(Box(top, 0, min(rows, height - top), width))
        bands.append(
            np.stack(
                [
                    np.asarray(Image.fromarray(plane).reduce((factors[1], factors[0])))
                    for plane in np.moveaxis(band, 2, 0)
                ],
                axis=2,
            )
        )
    reduced, box = np.concatenate(bands), (0, 0, width / factors[1], height / factors[0])
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            size_px[::-1], Image.Resampling.BILINEAR, box=box
        )
        for plane in np.moveaxis(reduced, 2, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)

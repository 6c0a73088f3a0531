"""Read ND2, which Nikon's microscopes write, with nd2: positions, slices and times as images."""

import math
from typing import Any, cast

import numpy as np

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
)
from limner.data.readers.pixel_size import PixelSize, to_pixel_size
from limner.data.readers.planes import PlaneFile, decode_plane, needs_package, open_planes

NAME = "ND2"
SUFFIXES = frozenset({".nd2"})
HOLDS_PAGES = True
EXTRA = "microscopy"
MARKS = (b"\xda\xce\xbe\x0a", b"\0\0\0\x0cjP  \r\n\x87\n")
"""Of today's files, and of those in JPEG 2000 that older microscopes wrote."""


def recognises(start: bytes) -> bool:
    return start.startswith(MARKS[0])


def read_header(file: BinaryFile) -> ImageHeader:
    return open_planes(file, _open).header


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    with needs_package("ND2", EXTRA):
        from nd2 import ND2File
    # It wants a method of its own kind, which every file has
    content = ND2File(cast(Any, file))
    sizes = dict(content.sizes)
    planned = math.prod(size for axis, size in sizes.items() if axis not in "YXCS")
    # Of an acquisition that was stopped; nd2 gives zeros for the rest
    recorded = min(planned, content.attributes.sequenceCount)
    channels = sizes.get("C", 1) * sizes.get("S", 1)
    header = ImageHeader(
        sizes["Y"],
        sizes["X"],
        pages=recorded,
        pixel_bytes=channels * content.dtype.itemsize,
        stored_pixel_size=_pixel_size(content),
    )

    def read(page: int) -> Pixels:
        frame = np.asarray(content.read_frame(page))
        # Channels come first, and the colours of a pixel last
        return np.moveaxis(frame, 0, -1) if "C" in sizes and "S" not in sizes else frame

    missing = planned - recorded
    return PlaneFile(
        header,
        read,
        separate_channels="C" in sizes,
        left_out=(f"{missing} images that were planned and never recorded",) if missing else (),
    )


def _pixel_size(content: Any) -> PixelSize | None:
    try:
        if not content.metadata.channels[0].volume.axesCalibrated[0]:
            return None
        side = content.voxel_size()
    except Exception:  # noqa: BLE001
        # What the metadata of some microscope lack must not hide its images
        return None
    return to_pixel_size(side.y, side.x, "µm")

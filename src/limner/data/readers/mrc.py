"""Read MRC with mrcfile: images, stacks and volumes of electron microscopes."""

import warnings
from typing import Any

import numpy as np

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)
from limner.data.readers.pixel_size import to_pixel_size
from limner.data.readers.planes import (
    PlaneFile,
    decode_plane,
    needs_package,
    open_planes,
    volume_window,
)

NAME = "MRC"
SUFFIXES = frozenset({".mrc", ".mrcs", ".rec", ".ccp4"})
HOLDS_PAGES = True
EXTRA = "microscopy"
HEADER_BYTES = 1024
MARK = b"MAP "
LITTLE_ENDIAN = frozenset({0x44, 0x41})
"""Of the first byte of the machine stamp (MRC2014)."""
COMPLEX_MODES = frozenset({3, 4})
"""Of Fourier transforms, which are no images."""


def recognises(start: bytes) -> bool:
    return start[208:212] == MARK


def read_header(file: BinaryFile) -> ImageHeader:
    with needs_package("MRC", EXTRA):
        from mrcfile.dtypes import HEADER_DTYPE
    content = file.read(HEADER_BYTES)
    if len(content) < HEADER_BYTES:
        raise ValueError("the file ends within its header")
    dtype = HEADER_DTYPE.newbyteorder("<" if content[212] in LITTLE_ENDIAN else ">")
    return _to_image_header(np.frombuffer(content, dtype)[0])


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    with needs_package("MRC", EXTRA):
        from mrcfile.mrcinterpreter import MrcInterpreter
    with warnings.catch_warnings():
        # Of sizes and marks that many programs write otherwise
        warnings.simplefilter("ignore")
        content = MrcInterpreter(file, permissive=True)
    if content.data is None:
        raise ValueError("the file ends before its pixels do")
    header = _to_image_header(content.header)
    voxels = content.data.reshape(header.pages, header.height, header.width)

    def read(page: int) -> Pixels:
        plane: Pixels = voxels[page]
        return plane

    return PlaneFile(header, read, window=volume_window(read, header.pages))


def _to_image_header(header: Any) -> ImageHeader:
    if int(header["mode"]) in COMPLEX_MODES:
        raise UnsupportedImageError(
            "is MRC of complex numbers, a Fourier transform. Give the image that it is of."
        )
    width, height, pages = (int(header[name]) for name in ("nx", "ny", "nz"))
    samples = {name: int(header[name]) for name in ("mx", "my")}
    sides = [
        float(header["cella"][axis]) / samples[f"m{axis}"] if samples[f"m{axis}"] > 0 else 0.0
        for axis in "yx"
    ]
    size = to_pixel_size(sides[0], sides[1], "angstrom")
    return ImageHeader(height, width, pages=max(pages, 1), pixel_bytes=8, stored_pixel_size=size)

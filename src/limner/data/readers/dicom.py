"""Read DICOM with pydicom. A frame is a page, and only it is decoded."""

import math

import numpy as np
from jaxtyping import Integer
from numpy import ndarray

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
)
from limner.data.readers.dicom_codecs import LOSSY_SYNTAXES
from limner.data.readers.dicom_file import is_dicom, open_dicom
from limner.data.readers.dicom_frame import frame_count, read_frame, read_layout
from limner.data.readers.dicom_lookup import LookupTable, apply_palette, read_palette
from limner.data.readers.dicom_values import frame_attributes, to_shown_values

NAME = "DICOM"
SUFFIXES = frozenset({".dcm", ".dicom"})
HOLDS_PAGES = True
PALETTE_PIXEL_BYTES = 3


def recognises(start: bytes) -> bool:
    return is_dicom(start)


def read_header(file: BinaryFile) -> ImageHeader:
    dicom = open_dicom(file)
    layout = read_layout(dicom)
    sample_bytes = layout.channels * math.ceil(layout.bits_allocated / 8)
    return ImageHeader(
        layout.height,
        layout.width,
        pages=frame_count(dicom.attributes),
        pixel_bytes=max(sample_bytes, PALETTE_PIXEL_BYTES),
    )


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    """Decode a frame, rescaled and windowed as the file says."""
    dicom = open_dicom(file)
    layout = read_layout(dicom)
    frame = read_frame(dicom, layout, options.page)
    is_little_endian = bool(dicom.attributes.original_encoding[1])
    if frame.photometric == "PALETTE COLOR":
        palette = read_palette(dicom.attributes, is_little_endian=is_little_endian)
        return _with_palette(frame.pixels, palette)
    if options.as_stored:
        return DecodedImage(frame.pixels, is_lossy=str(dicom.transfer_syntax) in LOSSY_SYNTAXES)
    if frame.photometric == "RGB":
        bounds = 0.0, float(2**layout.bits_stored - 1)
        return DecodedImage(frame.pixels, window=bounds)
    attributes = frame_attributes(dicom.attributes, options.page)
    return to_shown_values(frame.pixels, attributes, layout, is_little_endian=is_little_endian)


def _with_palette(indices: Integer[ndarray, "h w"], palette: list[LookupTable]) -> DecodedImage:
    """Keep indices and the colour of each; negative ones, which are no indices, become colours."""
    if indices.min() < 0:
        return DecodedImage(apply_palette(indices, palette))
    colours = apply_palette(np.arange(int(indices.max()) + 1), palette)
    return DecodedImage(indices.astype(f"u{indices.itemsize}"), palette=colours)

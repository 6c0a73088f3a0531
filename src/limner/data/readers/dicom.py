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
    UnsupportedImageError,
)
from limner.data.readers.dicom_codecs import LOSSY_SYNTAXES, FrameLayout
from limner.data.readers.dicom_file import is_dicom, open_dicom
from limner.data.readers.dicom_frame import (
    DicomFrame,
    frame_count,
    read_frame,
    read_layout,
)
from limner.data.readers.dicom_lookup import LookupTable, apply_palette, read_palette
from limner.data.readers.dicom_pixel_size import dicom_pixel_size
from limner.data.readers.dicom_segmentation import (
    is_segmentation,
    read_segments,
    require_one_image,
)
from limner.data.readers.dicom_values import (
    frame_attributes,
    to_measured_values,
    to_shown_values,
)

NAME = "DICOM"
SUFFIXES = frozenset({".dcm", ".dicom"})
HOLDS_PAGES = True
PALETTE_PIXEL_BYTES = 3


def recognises(start: bytes) -> bool:
    return is_dicom(start)


def read_header(file: BinaryFile) -> ImageHeader:
    dicom = open_dicom(file)
    layout = read_layout(dicom)
    pages = frame_count(dicom.attributes)
    if is_segmentation(dicom.attributes):
        require_one_image(dicom.attributes)
        pages = 1
    sample_bytes = layout.channels * math.ceil(layout.bits_allocated / 8)
    return ImageHeader(
        layout.height,
        layout.width,
        pages=pages,
        pixel_bytes=max(sample_bytes, PALETTE_PIXEL_BYTES),
        stored_pixel_size=dicom_pixel_size(dicom.attributes),
    )


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    """Decode a frame, rescaled and windowed as the file says."""
    dicom = open_dicom(file)
    layout = read_layout(dicom)
    if is_segmentation(dicom.attributes):
        if not options.as_stored:
            raise UnsupportedImageError(
                "is a DICOM segmentation (SEG), which is a mask. Give the image that it is about."
            )
        return DecodedImage(read_segments(dicom, layout))
    frame = read_frame(dicom, layout, options.page)
    is_little_endian = bool(dicom.attributes.original_encoding[1])
    if frame.photometric == "PALETTE COLOR":
        palette = read_palette(dicom.attributes, is_little_endian=is_little_endian)
        return _with_palette(frame.pixels, palette)
    if options.as_stored:
        return _as_stored(frame, layout, LOSSY_SYNTAXES.get(str(dicom.transfer_syntax), ""))
    if frame.photometric == "RGB":
        bounds = 0.0, float(2**layout.bits_stored - 1)
        return DecodedImage(frame.pixels, window=bounds)
    attributes = frame_attributes(dicom.attributes, options.page)
    convert = to_measured_values if options.as_values else to_shown_values
    return convert(frame.pixels, attributes, layout, is_little_endian=is_little_endian)


def _as_stored(frame: DicomFrame, layout: FrameLayout, codec: str) -> DecodedImage:
    """Keep the values of a mask, turned where 0 is white, so that they are as a viewer shows them.

    Signed numbers are no shades of grey, and keep their sign.
    """
    pixels = frame.pixels
    if frame.photometric != "MONOCHROME1" or pixels.dtype.kind != "u":
        return DecodedImage(pixels, lossy_codec=codec)
    white = 2**layout.bits_stored - 1
    if pixels.max() > white:
        # Of a file that says less of itself than it holds
        white = int(np.iinfo(pixels.dtype).max)
    turned = pixels.dtype.type(white) - pixels
    return DecodedImage(turned, lossy_codec=codec, white_is_zero="inverted")


def _with_palette(indices: Integer[ndarray, "h w"], palette: list[LookupTable]) -> DecodedImage:
    """Keep indices and the colour of each; negative ones, which are not indices, become colours."""
    if indices.min() < 0:
        return DecodedImage(apply_palette(indices, palette))
    colours = apply_palette(np.arange(int(indices.max()) + 1), palette)
    return DecodedImage(indices.astype(f"u{indices.itemsize}"), palette=colours)

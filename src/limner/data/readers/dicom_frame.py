"""One frame of a DICOM file as it is stored, or as RGB where it is luminance and chrominance."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from limner.data.readers.decoded import Pixels, UnsupportedImageError
from limner.data.readers.dicom_codecs import FrameLayout, decode_frame, require_codec
from limner.data.readers.dicom_file import DicomFile

COLOURS_READ = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB")
YBR_READ = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
BITS_READ = frozenset({1, 8, 16, 32, 64})


@dataclass(frozen=True, slots=True)
class DicomFrame:
    """The samples of one frame. `photometric` is never one of luminance and chrominance."""

    pixels: Pixels
    photometric: str


def frame_count(attributes: Any) -> int:
    """How many frames a file says that it holds; at least 1."""
    return max(1, int(attributes.get("NumberOfFrames") or 1))


def read_layout(dicom: DicomFile) -> FrameLayout:
    """Read what the file says of a frame's samples.

    Raises:
        UnsupportedImageError: It has colours or a depth that are not read.
    """
    attributes = dicom.attributes
    channels = int(attributes.get("SamplesPerPixel") or 1)
    photometric = str(
        attributes.get("PhotometricInterpretation") or ("RGB" if channels == 3 else "MONOCHROME2")
    ).strip()
    expected_channels = 3 if photometric == "RGB" or photometric in YBR_READ else 1
    if photometric not in COLOURS_READ + YBR_READ or channels != expected_channels:
        raise UnsupportedImageError(
            f"is DICOM of {channels} channel{'s' * (channels != 1)} with colours of the kind "
            f"{photometric}. Read are {', '.join(COLOURS_READ + YBR_READ)}: export it as RGB."
        )
    default_bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(dicom.pixel_keyword)
    bits = int(default_bits or attributes.BitsAllocated)
    if bits not in BITS_READ:
        raise UnsupportedImageError(
            f"is DICOM whose samples take {bits} bits. Read are 1, 8, 16, 32 and 64: export it "
            "with 16."
        )
    return FrameLayout(
        int(attributes.Rows),
        int(attributes.Columns),
        channels,
        bits,
        min(int(attributes.get("BitsStored") or bits), bits),
        bool(attributes.get("PixelRepresentation")),
        photometric,
    )


def read_frame(dicom: DicomFile, layout: FrameLayout, index: int) -> DicomFrame:
    """Decode one frame, and no other. Raises ValueError where it is damaged."""
    syntax = dicom.transfer_syntax
    # Native pixels have a length
    if dicom.pixel_bytes is not None and syntax.is_transfer_syntax and not syntax.is_encapsulated:
        return _read_native(dicom, layout, index)
    codec = require_codec(str(syntax), syntax.name)
    pixels, photometric = decode_frame(_read_encapsulated(dicom, index), codec, layout)
    return DicomFrame(*_to_rgb(pixels, photometric))


def _read_native(dicom: DicomFile, layout: FrameLayout, index: int) -> DicomFrame:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import as_pixel_options

    if layout.photometric in YBR_READ and layout.bits_allocated != 8:
        raise _unsupported_depth(layout.photometric, layout.bits_allocated)
    _check_native_length(dicom, layout, index)
    if layout.bits_allocated == 1:
        return DicomFrame(_read_single_bits(dicom, layout, index), layout.photometric)
    options = as_pixel_options(
        dicom.attributes,
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_stored,
        pixel_representation=int(layout.is_signed),
        photometric_interpretation=layout.photometric,
        samples_per_pixel=layout.channels,
        number_of_frames=frame_count(dicom.attributes),
        transfer_syntax_uid=dicom.transfer_syntax,
        pixel_keyword=dicom.pixel_keyword,
        pixel_vr=dicom.pixel_representation or "OW",
    )
    decoder: Any = get_decoder(dicom.transfer_syntax)
    pixels, properties = decoder.as_array(dicom.content, index=index, **options)
    return DicomFrame(
        pixels.astype(pixels.dtype.newbyteorder("="), copy=False),
        str(properties["photometric_interpretation"]),
    )


def _check_native_length(dicom: DicomFile, layout: FrameLayout, index: int) -> None:
    """Raise ValueError where the file ends before a frame does."""
    samples = layout.height * layout.width * layout.channels
    is_subsampled = layout.photometric == "YBR_FULL_422"
    stored_samples = samples // 3 * 2 if is_subsampled else samples
    frames = frame_count(dicom.attributes)
    length = dicom.pixel_bytes or 0
    if is_subsampled and length >= samples * frames:
        raise UnsupportedImageError(
            "says that its colours are YBR_FULL_422, and its pixels take as many bytes as RGB or "
            "YBR_FULL. Which they are cannot be told: export it as RGB."
        )
    start = dicom.content.tell()
    available = min(length, dicom.content.seek(0, io.SEEK_END) - start)
    dicom.content.seek(start)
    needed = math.ceil(stored_samples * layout.bits_allocated * (index + 1) / 8)
    if available < needed:
        raise ValueError(f"its pixels end after {available} bytes of {needed}")


def _read_single_bits(dicom: DicomFile, layout: FrameLayout, index: int) -> Pixels:
    """Read a frame of single bits, which may begin and end within a byte (PS3.5, 8.1.1)."""
    count = layout.height * layout.width
    first_byte, first_bit = divmod(index * count, 8)
    dicom.content.seek(first_byte, io.SEEK_CUR)
    packed = np.frombuffer(dicom.content.read(math.ceil((first_bit + count) / 8)), np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[first_bit : first_bit + count]
    return bits.reshape(layout.height, layout.width)


def _read_encapsulated(dicom: DicomFile, index: int) -> bytes:
    from pydicom.encaps import get_frame

    attributes = dicom.attributes
    offsets = None
    if attributes.get("ExtendedOffsetTable") and attributes.get("ExtendedOffsetTableLengths"):
        offsets = attributes.ExtendedOffsetTable, attributes.ExtendedOffsetTableLengths
    return get_frame(
        dicom.content,
        index,
        number_of_frames=frame_count(attributes),
        extended_offsets=offsets,
    )


def _to_rgb(pixels: Pixels, photometric: str) -> tuple[Pixels, str]:
    from pydicom.pixels.processing import convert_color_space

    if photometric not in YBR_READ:
        return pixels, photometric
    if pixels.itemsize != 1:
        raise _unsupported_depth(photometric, 8 * pixels.itemsize)
    return convert_color_space(pixels, "YBR_FULL", "RGB"), "RGB"


def _unsupported_depth(photometric: str, bits: int) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"is DICOM with colours of the kind {photometric} of {bits} bits. They are read with 8: "
        "export it as RGB."
    )

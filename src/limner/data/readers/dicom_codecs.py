"""Decode compressed frames of DICOM with imagecodecs, whatever plug-ins of pydicom there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import imagecodecs
import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from limner.data.readers.decoded import Pixels, UnsupportedImageError
from limner.data.readers.dicom_codestream import Codestream, read_codestream

JPEG, JPEG_LS, JPEG_2000, RLE = "JPEG", "JPEG-LS", "JPEG 2000", "RLE"
CODEC_OF: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": JPEG,
    "1.2.840.10008.1.2.4.51": JPEG,
    "1.2.840.10008.1.2.4.57": JPEG,
    "1.2.840.10008.1.2.4.70": JPEG,
    "1.2.840.10008.1.2.4.80": JPEG_LS,
    "1.2.840.10008.1.2.4.81": JPEG_LS,
    "1.2.840.10008.1.2.4.90": JPEG_2000,
    "1.2.840.10008.1.2.4.91": JPEG_2000,
    "1.2.840.10008.1.2.4.201": JPEG_2000,
    "1.2.840.10008.1.2.4.202": JPEG_2000,
    "1.2.840.10008.1.2.4.203": JPEG_2000,
    "1.2.840.10008.1.2.5": RLE,
}
"""The codec of each transfer syntax (DICOM PS3.5, annex A) that is read."""
JPEG_LS_SYNTAXES = tuple(uid for uid, codec in CODEC_OF.items() if codec == JPEG_LS)
LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.81": "near-lossless JPEG-LS",
    "1.2.840.10008.1.2.4.91": "lossy JPEG 2000",
    "1.2.840.10008.1.2.4.203": "lossy High-Throughput JPEG 2000",
}
"""The codecs that may change values, by their transfer syntax."""
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
"""Of JPEG and JPEG-LS. Some encoders of JPEG 2000 leave theirs out."""
PLUGINS = {JPEG: "JPEG8", JPEG_LS: "JPEGLS", JPEG_2000: "JPEG2K", RLE: "DICOMRLE"}
"""What imagecodecs calls each codec. A build of it may lack some."""


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """What the file says of the samples of a frame."""

    height: int
    width: int
    channels: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str


def require_codec(transfer_syntax: str, name: str) -> str:
    """Return the codec of a transfer syntax. Raises UnsupportedImageError where there is none."""
    codec = CODEC_OF.get(transfer_syntax)
    if codec is None:
        raise UnsupportedImageError(
            f"is DICOM stored as {name}, which is not read. Uncompressed, RLE, "
            "JPEG, JPEG-LS and JPEG 2000 are: export it uncompressed."
        )
    if not getattr(imagecodecs, PLUGINS[codec]).available:
        raise UnsupportedImageError(
            f"is DICOM stored as {name}, and the {codec} codec is missing: this build of "
            "imagecodecs lacks it. Install the wheel from PyPI (pip install --force-reinstall "
            "imagecodecs), or export the file uncompressed."
        )
    return codec


def decode_frame(frame: bytes, codec: str, layout: FrameLayout) -> tuple[Pixels, str]:
    """Decode a compressed frame.

    Returns:
        The samples, (height, width) or (height, width, channels), and the colours that they are:
        RGB, or the photometric interpretation of the file.

    Raises:
        ValueError: The frame is damaged, or differs from what the file says of it.
    """
    if codec == RLE:
        return _fit_bits(_decode_rle(frame, layout), layout), layout.photometric
    # libjpeg fills what is missing and says nothing, and CharLS may search it for half a minute
    if codec != JPEG_2000 and END_OF_IMAGE not in frame[frame.rfind(START_OF_SCAN) :]:
        raise ValueError("its compressed pixels end early")
    codestream = read_codestream(frame)
    _check_codestream(codestream, layout)
    pixels = _DECODERS[codec](frame, codestream)
    photometric = layout.photometric
    if codestream.states_rgb or photometric in {"YBR_ICT", "YBR_RCT"}:
        # The codec of JPEG 2000 has turned them back already
        photometric = "RGB"
    elif codestream.states_ybr and photometric == "RGB":
        photometric = "YBR_FULL"
    return _fit_codestream_bits(pixels, codec, codestream, layout), photometric


def _check_codestream(codestream: Codestream, layout: FrameLayout) -> None:
    """Check sizes before memory is taken. Raises ValueError where they differ from the file's."""
    sizes = [(image.width, image.height, image.channels) for image in (codestream, layout)]
    if sizes[0] != sizes[1]:
        frame_size, header_size = ("x".join(map(str, size)) for size in sizes)
        raise ValueError(
            f"its compressed pixels are {frame_size}, and its header says {header_size}"
        )


def _decode_jpeg(frame: bytes, codestream: Codestream) -> Pixels:
    if codestream.channels == 1:
        return imagecodecs.jpeg8_decode(frame)
    # Of the same colours in and out, so that none are turned
    return imagecodecs.jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="YCBCR")


def _decode_jpeg_ls(frame: bytes, _codestream: Codestream) -> Pixels:
    return imagecodecs.jpegls_decode(frame)


def _decode_jpeg_2000(frame: bytes, _codestream: Codestream) -> Pixels:
    return imagecodecs.jpeg2k_decode(frame)


_DECODERS: Mapping[str, Callable[[bytes, Codestream], Pixels]] = {
    JPEG: _decode_jpeg,
    JPEG_LS: _decode_jpeg_ls,
    JPEG_2000: _decode_jpeg_2000,
}


def _decode_rle(frame: bytes, layout: FrameLayout) -> Pixels:
    dtype = np.dtype(f"<u{layout.bits_allocated // 8}")
    samples = np.frombuffer(imagecodecs.dicomrle_decode(frame, dtype), dtype)
    size = layout.height, layout.width
    if layout.channels == 1:
        return samples.reshape(size)
    return np.moveaxis(samples.reshape(layout.channels, *size), 0, -1)


def _fit_codestream_bits(
    pixels: Pixels, codec: str, codestream: Codestream, layout: FrameLayout
) -> Pixels:
    """Give samples the sign that the file says. Only JPEG 2000 tells signed ones apart."""
    if codec == JPEG_2000 and codestream.is_signed == layout.is_signed:
        return pixels
    if codec == JPEG:
        return _fit_bits(pixels, layout)
    return (
        extend_sign(pixels, codestream.bits)
        if layout.is_signed
        else _drop_sign(pixels, codestream.bits)
    )


def _fit_bits(pixels: Pixels, layout: FrameLayout) -> Pixels:
    """Leave only the stored bits of each sample, as a number with or without sign."""
    fit = extend_sign if layout.is_signed else _drop_sign
    return fit(pixels, layout.bits_stored)


def extend_sign(samples: Shaped[ndarray, "*_"], bits: int) -> Shaped[ndarray, "*_"]:
    """Read the lowest bits of each sample as a number with a sign (two's complement)."""
    signed = np.ascontiguousarray(samples).view(f"i{samples.itemsize}")
    shift = max(0, 8 * samples.itemsize - bits)
    return np.right_shift(np.left_shift(signed, shift), shift)


def _drop_sign(samples: Shaped[ndarray, "*_"], bits: int) -> Shaped[ndarray, "*_"]:
    unsigned = np.ascontiguousarray(samples).view(f"u{samples.itemsize}")
    return unsigned & unsigned.dtype.type(2 ** min(bits, 8 * samples.itemsize) - 1)

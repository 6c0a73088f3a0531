"""Read JPEG 2000 with imagecodecs, of 8 and 16 bits."""

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    UnsupportedImageError,
)
from limner.data.readers.dicom_codestream import J2K_START, JP2_SIGNATURE, read_codestream
from limner.data.readers.tiff_codecs import is_lossy_jpeg_2000

NAME = "JPEG 2000"
SUFFIXES = frozenset({".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"})
HOLDS_PAGES = False
HEADER_BYTES = 1 << 16
"""In which the codestream of a usual file begins."""


def recognises(start: bytes) -> bool:
    return start.startswith((JP2_SIGNATURE, J2K_START))


def read_header(file: BinaryFile) -> ImageHeader:
    codestream = read_codestream(file.read(HEADER_BYTES))
    if codestream.bits > 16 or codestream.is_signed:
        kind = "signed" if codestream.is_signed else f"{codestream.bits}-bit"
        raise UnsupportedImageError(
            f"is JPEG 2000 of {kind} samples. Up to 16 bits without a sign are read: export it as "
            "TIFF."
        )
    return ImageHeader(
        codestream.height,
        codestream.width,
        pixel_bytes=codestream.channels * (2 if codestream.bits > 8 else 1),
    )


def decode(file: BinaryFile, _header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    import imagecodecs

    content = file.read()
    pixels = imagecodecs.jpeg2k_decode(content)
    lossy = "lossy JPEG 2000" if is_lossy_jpeg_2000(content) else ""
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in {2, 4}
    return DecodedImage(pixels, has_alpha=has_alpha, lossy_codec=lossy)

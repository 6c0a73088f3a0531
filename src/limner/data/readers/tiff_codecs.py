"""Whether a TIFF's compression keeps values as they were, as a mask needs it."""

from typing import Any

from limner.data.readers.lerc import LERC, is_lossy_lerc, unwrap

OLD_JPEG, JPEG, LOSSY_DNG = 6, 7, 34892
JPEG_2000 = frozenset({33003, 33004, 33005, 34712})
WEBP = 50001
JPEG_XL = frozenset({50002, 52546})
"""In the tag Compression."""
CODEC_NAMES = {WEBP: "lossy WebP", LERC: "lossy LERC", **dict.fromkeys(JPEG_XL, "lossy JPEG XL")}
EXACT_JPEG = (b"\xff\xc3", b"\xff\xf7")
"""The markers of lossless JPEG (T.81, process 14) and of JPEG-LS."""
JPEG_2000_STYLE = b"\xff\x52"
"""The marker COD, whose 14th byte is 0 for the wavelet that rounds (T.800)."""
WAVELET_AT = 13
CODESTREAM_OF_JPEG_XL = b"\xff\x0a"


def lossy_codec(page: Any) -> str:
    """Name the codec that changed a page's values when it was written; empty for none."""
    if not _is_lossy(page):
        return ""
    compression = int(page.compression)
    if compression in JPEG_2000:
        return "lossy JPEG 2000"
    return CODEC_NAMES.get(compression, "JPEG")


def _is_lossy(page: Any) -> bool:
    """Tell by a page's first segment whether it was written with a loss."""
    compression = int(page.compression)
    if compression in {OLD_JPEG, LOSSY_DNG}:
        return True
    if compression not in {JPEG, WEBP, LERC, *JPEG_2000, *JPEG_XL}:
        return False
    content = _first_segment(page)
    if not content:
        return False
    if compression == JPEG:
        return not any(marker in content[:4096] for marker in EXACT_JPEG)
    if compression == WEBP:
        return b"VP8 " in content[:64]
    if compression == LERC:
        return is_lossy_lerc(unwrap(page, content))
    if compression in JPEG_2000:
        return is_lossy_jpeg_2000(content)
    return is_lossy_jpeg_xl(content)


def is_lossy_jpeg_2000(content: bytes) -> bool:
    """Tell by the header of a JPEG 2000 image whether its wavelet rounds."""
    style = content.find(JPEG_2000_STYLE)
    return style >= 0 and content[style + WAVELET_AT : style + WAVELET_AT + 1] == b"\0"


def is_lossy_jpeg_xl(content: bytes) -> bool:
    """Tell by the header of a JPEG XL image whether its colours were changed to XYB.

    That is what encoders do but for lossless images (ISO/IEC 18181-1, annex D). False stands also
    for headers with extra fields or channels, which are not followed.
    """
    start = content.find(CODESTREAM_OF_JPEG_XL)
    bits = _Bits(content[start + 2 : start + 34])
    if start < 0:
        return False
    is_small = bits.take(1)
    bits.take_length(is_small)
    if bits.take(3) == 0:
        bits.take_length(is_small)
    if bits.take(1):
        # All of it by default, and XYB is
        return True
    if bits.take(1) or bits.take(1):
        # Extra fields, or floating-point samples
        return False
    if bits.take(2) == 3:
        bits.take(6)
    # Whether 16-bit buffers suffice
    bits.take(1)
    if bits.take(2):
        # Extra channels
        return False
    return bool(bits.take(1))


def _first_segment(page: Any) -> bytes:
    """Read the first segment that has any bytes, with the tables that a JPEG has elsewhere."""
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count:
            file.seek(offset)
            return bytes(file.read(count))
    return b""


class _Bits:
    """Takes bits from bytes, the least significant first."""

    def __init__(self, content: bytes) -> None:
        self._number, self._at = int.from_bytes(content, "little"), 0

    def take(self, count: int) -> int:
        taken = self._number >> self._at & ((1 << count) - 1)
        self._at += count
        return taken

    def take_length(self, is_small: int) -> int:
        """A side of an image, in one of two forms."""
        return self.take(5) if is_small else self.take((9, 13, 18, 30)[self.take(2)])

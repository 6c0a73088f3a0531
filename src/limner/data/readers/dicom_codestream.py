"""What a compressed frame of DICOM says of itself, read before any of it is decoded."""

from dataclasses import dataclass

MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
START_OF_SCAN = 0xDA
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Of JPEG (ITU-T T.81, table B.1), and of JPEG-LS."""
JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
J2K_START = b"\xff\x4f\xff\x51"
"""Start of codestream, then image and tile size (ITU-T T.800, A.5.1)."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 codestream."""

    height: int
    width: int
    channels: int
    bits: int
    """Of a sample."""
    is_signed: bool = False
    """Only JPEG 2000 can say so."""
    states_rgb: bool = False
    """Adobe's marker or the names of its channels say that the colours are RGB."""
    states_ybr: bool = False
    """Adobe's marker or JFIF's says that the colours are luminance and chrominance."""


def read_codestream(frame: bytes) -> Codestream:
    """Read the header of a compressed frame. Raises ValueError where it has none."""
    try:
        if frame.startswith((J2K_START, JP2_SIGNATURE)):
            return _read_j2k(frame)
        return _read_jpeg(frame)
    except IndexError:
        raise ValueError("its compressed pixels end within their header") from None


def _read_j2k(frame: bytes) -> Codestream:
    start = frame.find(J2K_START)
    if start < 0:
        raise ValueError("its JPEG 2000 has no codestream")
    sides = [_number(frame, start + 8 + 4 * index, 4) for index in range(4)]
    right, bottom, left, top = sides
    depth = frame[start + 42]
    return Codestream(
        bottom - top,
        right - left,
        _number(frame, start + 40, 2),
        (depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
    )


def _read_jpeg(frame: bytes) -> Codestream:
    if not frame.startswith(b"\xff\xd8"):
        raise ValueError("its compressed pixels are not JPEG, JPEG-LS or JPEG 2000")
    adobe_transform: int | None = None
    is_jfif = False
    offset = 2
    while (marker := frame[offset + 1]) not in FRAME_MARKERS:
        if frame[offset] != 0xFF or marker == START_OF_SCAN:
            raise ValueError("its JPEG has no frame header")
        # Any number of 0xFF may come before a marker
        if marker in {0xFF, *MARKERS_WITHOUT_LENGTH}:
            offset += 1 if marker == 0xFF else 2
            continue
        length, body = _number(frame, offset + 2, 2), offset + 4
        if marker == 0xEE and frame[body : body + 5] == b"Adobe" and length >= 14:
            adobe_transform = frame[body + 11]
        is_jfif |= marker == 0xE0 and frame[body : body + 5] == b"JFIF\0"
        offset += 2 + max(length, 2)
    channels = frame[offset + 9]
    names = bytes(frame[offset + 10 + 3 * index] for index in range(channels))
    return Codestream(
        _number(frame, offset + 5, 2),
        _number(frame, offset + 7, 2),
        channels,
        frame[offset + 4],
        states_rgb=adobe_transform == 0 or (adobe_transform is None and names in {b"RGB", b"rgb"}),
        states_ybr=adobe_transform == 1 or (adobe_transform is None and is_jfif),
    )


def _number(content: bytes, offset: int, length: int) -> int:
    if offset + length > len(content):
        raise IndexError
    return int.from_bytes(content[offset : offset + length], "big")

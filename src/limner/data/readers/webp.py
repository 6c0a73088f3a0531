"""Read WebP. The header of a usual file is read chunk by chunk, since Pillow reads all of it."""

import io
import re
import struct
from dataclasses import replace
from typing import NamedTuple

from PIL import WebPImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader
from limner.data.readers.exif import exif_orientation, orientation_of_metadata
from limner.data.readers.pillow import decode_with_pillow

NAME = "WebP"
SUFFIXES = frozenset({".webp"})
HOLDS_PAGES = False
USUAL_CHUNKS = re.compile(rb"VP8 |VP8L|VP8X(ICCP)?((ALPH)?VP8 |VP8L)(EXIF)?(XMP )?")
MOST_CHUNKS = 6
ANIMATION_FLAG, XMP_FLAG, EXIF_FLAG = 0x02, 0x04, 0x08
"""Of the first byte of VP8X (RFC 9649, section 2.7)."""


class _Chunk(NamedTuple):
    kind: bytes
    offset: int
    length: int


def recognises(start: bytes) -> bool:
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


def read_header(file: BinaryFile) -> ImageHeader:
    header = _read_usual_header(file)
    if header is None:
        # Pillow reads the whole file, and says what is wrong with it
        file.seek(0)
        image = WebPImagePlugin.WebPImageFile(file)
        header = ImageHeader(image.height, image.width, exif_orientation(image))
    return header


def decode(file: BinaryFile, header: ImageHeader, _options: DecodeOptions) -> DecodedImage:
    data = file.read()
    if struct.unpack("<I", data[4:8])[0] + 8 > len(data):
        raise ValueError(f"the file ends after {len(data)} bytes")
    decoded = decode_with_pillow(
        WebPImagePlugin.WebPImageFile(io.BytesIO(data)), header.orientation
    )
    return replace(decoded, lossy_codec="lossy WebP" if b"VP8 " in data[:64] else "")


def _read_usual_header(file: BinaryFile) -> ImageHeader | None:
    """Read the header of a sound file that is not an animation; None of any other."""
    chunks = _read_chunk_heads(file)
    if not USUAL_CHUNKS.fullmatch(b"".join(chunk.kind for chunk in chunks)):
        return None
    by_kind = {chunk.kind: chunk for chunk in chunks}
    size = _read_frame_size(file, by_kind.get(b"VP8 ") or by_kind[b"VP8L"])
    if b"VP8X" not in by_kind:
        return ImageHeader(*size) if size else None
    extended = _read_body(file, by_kind[b"VP8X"])
    if len(extended) != 10 or extended[0] & ANIMATION_FLAG or size != _canvas_size(extended):
        return None
    exif, xmp = (
        _read_body(file, by_kind[kind]) if extended[0] & flag and kind in by_kind else None
        for kind, flag in ((b"EXIF", EXIF_FLAG), (b"XMP ", XMP_FLAG))
    )
    return ImageHeader(*size, orientation_of_metadata(exif, xmp))


def _read_chunk_heads(file: BinaryFile) -> list[_Chunk]:
    """List the chunks of a RIFF file; empty where it ends early, or has more than are usual."""
    riff_end = struct.unpack("<4xI4x", file.read(12))[0] + 8
    chunks: list[_Chunk] = []
    offset = 12
    while offset < riff_end and len(chunks) < MOST_CHUNKS:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return []
        kind, length = struct.unpack("<4sI", head)
        chunks.append(_Chunk(kind, offset + 8, length))
        offset += 8 + length + length % 2
    return chunks if offset == riff_end <= file.seek(0, io.SEEK_END) else []


def _read_body(file: BinaryFile, chunk: _Chunk) -> bytes:
    file.seek(chunk.offset)
    return file.read(chunk.length)


def _read_frame_size(file: BinaryFile, frame: _Chunk) -> tuple[int, int] | None:
    """Read height and width from the bits of an image; None where they are not sound."""
    file.seek(frame.offset)
    start = file.read(min(10, frame.length))
    if frame.kind == b"VP8L":
        # RFC 9649, section 3.4: a signature, then 14 bits each, and 3 bits of version
        bits = int.from_bytes(start[1:5], "little")
        if len(start) < 5 or start[0] != 0x2F or bits >> 29:
            return None
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    # RFC 6386, section 9.1: a key frame that is shown, then a start code, then 14 bits each
    tag = int.from_bytes(start[:3], "little")
    is_sound = tag & 1 == 0 and tag >> 1 & 7 <= 3 and tag >> 4 & 1 and tag >> 5 < frame.length
    if len(start) < 10 or not is_sound or start[3:6] != b"\x9d\x01\x2a":
        return None
    width, height = (side & 0x3FFF for side in struct.unpack("<HH", start[6:10]))
    return (height, width) if height and width else None


def _canvas_size(extended: bytes) -> tuple[int, int]:
    """Height and width of the body of a VP8X chunk."""
    width, height = (int.from_bytes(extended[at : at + 3], "little") + 1 for at in (4, 7))
    return height, width

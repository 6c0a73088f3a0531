"""Read PNG. Every checksum is checked, and that the pixels are all there.

Pillow looks at neither, and libpng at less. Of 5,819 mutated files that are refused here,
`imagecodecs.png_decode` took 28: they had no end mark, or damaged metadata. It also gives no
palette.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from PIL import PngImagePlugin

from limner.data.readers.decoded import BinaryFile, DecodedImage, DecodeOptions, ImageHeader, Pixels
from limner.data.readers.exif import exif_orientation
from limner.data.readers.pillow import decode_with_pillow

NAME = "PNG"
SUFFIXES = frozenset({".png"})
HOLDS_PAGES = False
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ALLOWED_BITS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""How many bits a channel may have, by type of colour (W3C PNG, section 11.2.1). More would be
memory that no image needs.
"""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column, first row, and the steps from column to column and from row to row."""
MOST_CHUNK_BYTES = 1 << 30
LIBPNG_MOST_SIDE_PX = 1_000_000


class _ImageHeaderChunk(NamedTuple):
    """IHDR, the first chunk of every PNG."""

    width: int
    height: int
    bits: int
    colour_type: int
    compression: int
    filtering: int
    interlace: int

    @property
    def has_deep_colour(self) -> bool:
        return self.bits == 16 and self.colour_type in {2, 4, 6}


class _ChunkHead(NamedTuple):
    kind: bytes
    offset: int
    length: int
    """Of the body, which lies between 8 bytes of head and 4 of checksum."""


def recognises(start: bytes) -> bool:
    return start.startswith(SIGNATURE)


def read_header(file: BinaryFile) -> ImageHeader:
    start = file.read(24)
    width, height = struct.unpack(">II", start[16:24]) if len(start) == 24 else (0, 0)
    return ImageHeader(height, width, _read_orientation(file))


def decode(file: BinaryFile, header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    data = file.read()
    compressed = _check_chunks(data)
    image_header = _ImageHeaderChunk(*struct.unpack(">IIBBBBB", data[16:29]))
    if image_header.has_deep_colour:
        pixels = _decode_deep_colour(data, image_header, compressed)
        return DecodedImage(
            pixels, header.orientation, has_alpha=image_header.colour_type in {4, 6}
        )
    _inflate(image_header, compressed, zlib.decompressobj())
    decoded = decode_with_pillow(PngImagePlugin.PngImageFile(io.BytesIO(data)), header.orientation)
    if options.as_stored and image_header.colour_type == 0 and image_header.bits in {2, 4}:
        # Pillow spreads these values over 0..255
        return replace(decoded, pixels=decoded.pixels // (255 // (2**image_header.bits - 1)))
    return decoded


def _read_orientation(file: BinaryFile) -> int:
    """Read the EXIF orientation, also from behind the pixels, which are skipped."""
    heads = list(_read_chunk_heads(file))
    kinds = [head.kind for head in heads]
    if b"eXIf" not in kinds:
        return 1
    if b"IDAT" in kinds[kinds.index(b"eXIf") :]:
        heads = heads[: kinds.index(b"IDAT")]
    # Pillow gets the same file without its pixels
    metadata = bytearray(SIGNATURE)
    for head in heads:
        if head.kind not in {b"IDAT", b"IEND"}:
            file.seek(head.offset)
            metadata += file.read(head.length + 12)
    metadata += encode_chunk(b"IDAT", b"") + encode_chunk(b"IEND", b"")
    return exif_orientation(PngImagePlugin.PngImageFile(io.BytesIO(metadata)))


def _read_chunk_heads(file: BinaryFile) -> Iterator[_ChunkHead]:
    """Read the heads of all chunks, up to where a damaged file has none, and skip the bodies."""
    offset, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        file.seek(offset)
        head = file.read(8)
        kind = head[4:]
        if len(kind) < 4 or not kind.isalpha():
            return
        length = int.from_bytes(head[:4], "big")
        yield _ChunkHead(kind, offset, length)
        offset += length + 12


def encode_chunk(kind: bytes, body: bytes) -> bytes:
    """Encode a chunk: length, kind, body and checksum (W3C PNG, section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _check_chunks(data: bytes) -> bytearray:
    """Check every chunk's checksum, and return the compressed pixels.

    Raises:
        ValueError: A checksum is wrong, or the file ends early.
    """
    compressed = bytearray()
    offset = len(SIGNATURE)
    while offset < len(data):
        length, kind = struct.unpack(">I4s", data[offset : offset + 8])
        end = offset + 8 + length
        if end + 4 > len(data):
            raise ValueError(f"the file ends within its {kind.decode('latin-1')} chunk")
        checksum = zlib.crc32(memoryview(data)[offset + 4 : end])
        if checksum != struct.unpack(">I", data[end : end + 4])[0]:
            raise ValueError(f"the checksum of its {kind.decode('latin-1')} chunk is wrong")
        if kind == b"IDAT":
            compressed += memoryview(data)[offset + 8 : end]
        if kind == b"IEND":
            return compressed
        offset = end + 4
    raise ValueError("the file ends before its end mark")


def _inflate(image_header: _ImageHeaderChunk, compressed: bytearray, decompressor: Any) -> bytes:
    """Inflate the filtered rows, and no more of them than the image needs.

    Raises:
        ValueError: The header is of no PNG, or the rows end early.
    """
    if image_header.bits not in ALLOWED_BITS.get(image_header.colour_type, ()):
        raise ValueError(
            f"its header gives {image_header.bits} bits for a colour of type "
            f"{image_header.colour_type}, which no PNG has"
        )
    needed = sum(rows * row_bytes for rows, row_bytes in _passes(image_header))
    inflated = decompressor.decompress(compressed, needed)
    if len(inflated) < needed:
        raise ValueError("its pixels end before the image does")
    return inflated


def _passes(image_header: _ImageHeaderChunk) -> list[tuple[int, int]]:
    """List how many rows each pass has, and bytes each row with its filter byte (W3C PNG, 9)."""
    pixel_bits = image_header.bits * CHANNELS.get(image_header.colour_type, 0)
    passes = []
    for left, top, across, down in ADAM7_PASSES if image_header.interlace else ((0, 0, 1, 1),):
        columns = -(-(image_header.width - left) // across)
        rows = -(-(image_header.height - top) // down)
        if rows > 0 and columns > 0:
            passes.append((rows, 1 + -(-columns * pixel_bits // 8)))
    return passes


def _decode_deep_colour(
    data: bytes, image_header: _ImageHeaderChunk, compressed: bytearray
) -> Pixels:
    """Decode 16-bit colours with libpng, since Pillow would cut them to 8 bits.

    imagecodecs loses a reference to None with each PNG that it refuses, and some thousands of them
    end the process (imagecodecs 2026.3.6, Python 3.11). So it gets none that it would refuse.
    """
    import imagecodecs

    _check_for_libpng(image_header, compressed)
    parts = range(0, len(compressed), MOST_CHUNK_BYTES)
    return imagecodecs.png_decode(
        b"".join(
            (
                data[: len(SIGNATURE) + 25],
                *(
                    encode_chunk(b"IDAT", bytes(compressed[at : at + MOST_CHUNK_BYTES]))
                    for at in parts
                ),
                encode_chunk(b"IEND", b""),
            )
        )
    )


def _check_for_libpng(image_header: _ImageHeaderChunk, compressed: bytearray) -> None:
    """Check what libpng refuses and Pillow does not.

    Raises:
        ValueError: The header, a filter, or the end of the compressed pixels is not sound.
    """
    decompressor = zlib.decompressobj()
    inflated = _inflate(image_header, compressed, decompressor)
    surplus = decompressor.decompress(decompressor.unconsumed_tail, 1)
    if not surplus and not decompressor.eof:
        raise ValueError("its compressed pixels end early")
    if (
        (image_header.compression, image_header.filtering) != (0, 0)
        or image_header.interlace > 1
        or max(image_header.width, image_header.height) > LIBPNG_MOST_SIDE_PX
    ):
        raise ValueError("its header is of no PNG that libpng reads")
    offset = 0
    for rows, row_bytes in _passes(image_header):
        filters = np.frombuffer(inflated, np.uint8, rows * row_bytes, offset)[::row_bytes]
        if filters.max() > 4:
            raise ValueError("its rows have a filter that no PNG has")
        offset += rows * row_bytes

import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.images import (
    decode_image,
    exif_orientation,
    image_size,
    read_image,
    read_mask,
)
from limner.data.readers.png import SIGNATURE, encode_chunk
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


def encode_png_file(header: bytes, compressed: bytes, *metadata: bytes) -> bytes:
    """A PNG of these chunks, the metadata before the pixels."""
    pixels = encode_chunk(b"IDAT", compressed)
    header = encode_chunk(b"IHDR", header)
    return SIGNATURE + header + b"".join(metadata) + pixels + encode_chunk(b"IEND", b"")


def interlaced(pixels: np.ndarray) -> bytes:
    """An RGB PNG in Adam7's seven passes."""
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    rows = [
        b"\0" + row.tobytes()
        for x, y, across, down in passes
        for row in pixels[y::down, x::across]
        if row.size
    ]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return encode_png_file(header, zlib.compress(b"".join(rows)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 5), (8, 17)])
def test_an_interlaced_png_is_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 255, (*size, 3)).astype(np.uint8)
    (tmp_path / "x.png").write_bytes(interlaced(pixels))
    assert (read_image(tmp_path / "x.png") == pixels).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_no_sound_png_is_taken_for_a_short_one(tmp_path: Path, mode: str) -> None:
    for size in ((1, 1), (3, 2), (5, 9), (17, 8)):
        image = (
            Image.fromarray(RNG.integers(0, 60_000, size[::-1]).astype(np.uint16))
            if mode == "I;16"
            else Image.new("RGB", size, (9, 99, 200)).convert(mode)
        )
        image.save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png").shape == (size[1], size[0], 3)


def test_16_bit_png_keeps_its_depth_until_it_is_spread(tmp_path: Path) -> None:
    Image.fromarray(DEEP).save(tmp_path / "grey.png")
    assert (read_mask(tmp_path / "grey.png").values == DEEP).all()
    assert len(np.unique(read_image(tmp_path / "grey.png"))) > 40


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return encode_png_file(header, zlib.compress(rows))


@pytest.mark.parametrize(
    ("bits", "values"), [(1, [0, 255, 255, 0]), (2, [0, 1, 2, 3]), (4, [0, 1, 2, 3])]
)
def test_a_shallow_grey_mask_has_the_values_of_its_file(
    bits: int, values: list[int], tmp_path: Path
) -> None:
    packed = {1: b"\0\x60", 2: b"\0\x1b", 4: b"\0\x01\x23"}[bits]
    (tmp_path / "a.png").write_bytes(png(4, 1, bits, 0, packed))
    assert read_mask(tmp_path / "a.png").values.tolist() == [values]


def test_a_png_that_claims_impossible_pixels_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(500, 500, 255, 6, bytes(500 * (1 + 500 * 255 // 2))))
    tracemalloc.start()
    with pytest.raises(LimnerError, match="255 bits for a colour of type 6"):
        read_image(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_png_with_trailing_bytes_is_whole(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, format="PNG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue() + b"\n")
    assert (read_image(tmp_path / "x.png") == IMAGE).all()


def deep_colour(rows: bytes, *metadata: bytes, filter_and_interlace: bytes = b"\0\0") -> bytes:
    """A PNG of 4x2 pixels of three channels of 16 bits."""
    header = struct.pack(">IIBBB", 4, 2, 16, 2, 0) + filter_and_interlace
    return encode_png_file(header, zlib.compress(rows), *metadata)


DEEP_ROWS = b"\0" + bytes(range(24)) + b"\0" + bytes(range(100, 124))


def test_16_bit_colours_are_rgb_also_with_a_transparent_colour(tmp_path: Path) -> None:
    transparent = encode_chunk(b"tRNS", bytes(6))
    (tmp_path / "plain.png").write_bytes(deep_colour(DEEP_ROWS))
    (tmp_path / "transparent.png").write_bytes(deep_colour(DEEP_ROWS, transparent))
    image = read_image(tmp_path / "plain.png")
    assert image.shape == (2, 4, 3) and len(np.unique(image)) == 24
    assert (read_image(tmp_path / "transparent.png") == image).all()


SPOILT_DEEP = {
    "a filter that is none": deep_colour(b"\5" + DEEP_ROWS[1:]),
    "a short row": deep_colour(DEEP_ROWS[:-1]),
    "a header of no PNG": deep_colour(DEEP_ROWS, filter_and_interlace=b"\1\0"),
    "an interlace that is none": deep_colour(DEEP_ROWS, filter_and_interlace=b"\0\2"),
    "a wrong sum of the pixels": encode_png_file(
        struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0), zlib.compress(DEEP_ROWS)[:-1] + b"\0"
    ),
    "no sum of the pixels": encode_png_file(
        struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0), zlib.compress(DEEP_ROWS)[:-4]
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT_DEEP)
def test_damaged_16_bit_colours_do_not_wear_out_the_process(spoilt: str) -> None:
    """imagecodecs loses a reference to None with each PNG that it refuses."""
    before = sys.getrefcount(None)
    for _ in range(1000):
        with pytest.raises(LimnerError, match=r"the upload is damaged"):
            decode_image(SPOILT_DEEP[spoilt], "the upload", 100)
    assert before - sys.getrefcount(None) < 500


def test_an_orientation_behind_the_pixels_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, format="PNG")
    content, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    late = encode_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "x.png").write_bytes(content + late + end)
    assert exif_orientation(tmp_path / "x.png") == 6
    assert image_size(tmp_path / "x.png") == (9, 6)
    assert (read_image(tmp_path / "x.png") == np.rot90(IMAGE, -1)).all()

import io
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from limner.data.image_pixels import to_image, to_rgb
from limner.data.images import (
    MAX_PIXELS,
    decode_image,
    image_size,
    page_count,
    read_image,
    read_mask,
    read_predicted_mask,
)
from limner.data.resize import resize_image
from limner.data.writers.png import encode_mask_png
from limner.errors import LimnerError
from limner.labels import Labels

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 / height, x * 255 / width, 128 + 0 * y], axis=2).astype(np.uint8)


WRITTEN = {
    "png": "RGB L RGBA P 1 LA",
    "bmp": "RGB L P 1",
    "webp": "RGB L RGBA P 1 LA",
    "tif": "RGB L RGBA P 1 CMYK LA",
    "jpg": "RGB L CMYK 1",
}


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(suffix, mode) for suffix, modes in WRITTEN.items() for mode in modes.split()],
)
def test_every_mode_is_read_as_the_rgb_that_a_viewer_shows(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(
        suffix, {}
    )
    Image.fromarray(smooth(32, 40)).convert(mode).save(tmp_path / f"x.{suffix}", **options)
    with Image.open(tmp_path / f"x.{suffix}") as written:
        expected = np.asarray(written.convert("RGB"), np.int16)
    assert np.abs(read_image(tmp_path / f"x.{suffix}").astype(np.int16) - expected).max() <= 4 * (
        suffix == "jpg"
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_mask_turn_upright_together(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    pixels = np.zeros((6, 9), np.uint8)
    pixels[0, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(pixels).save(
        path, exif=exif, **({"lossless": True} if suffix == "webp" else {})
    )
    mask = read_mask(path).values
    upright = {
        5: pixels.T,
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels.T, 2),
        8: np.rot90(pixels),
        1: pixels,
        2: pixels[:, ::-1],
        3: np.rot90(pixels, 2),
    }
    assert (mask == upright.get(orientation, pixels[::-1])).all()
    assert (read_image(path)[..., 0] == mask).all()
    assert image_size(path) == mask.shape


def test_a_jpeg_at_reduced_scale_is_turned_as_the_whole(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(400, 640)).save(tmp_path / "x.jpg", exif=exif, quality=95)
    whole, reduced = (
        read_image(tmp_path / "x.jpg"),
        read_image(tmp_path / "x.jpg", at_least_px=(100, 50)),
    )
    assert whole.shape == (640, 400, 3)
    assert reduced.shape[0] >= 100 and reduced.shape[1] >= 50 and reduced.shape[0] < 640
    assert np.abs(resize_image(whole, reduced.shape[:2]).astype(int) - reduced).max() < 6


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"rowsperstrip": 2},
    ],
)
def test_tiffs_of_every_kind_hold_the_same(tmp_path: Path, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "x.tif", PICTURE, photometric="rgb", **options)
    assert (read_image(tmp_path / "x.tif") == PICTURE).all()


def test_planes_that_lie_apart_are_joined(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", PICTURE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    assert (read_image(tmp_path / "x.tif") == PICTURE).all()


def test_a_stack_is_read_page_by_page(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 6, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    assert page_count(tmp_path / "x.tif") == 5
    assert all(
        (read_mask(tmp_path / "x.tif", page=page).values == stack[page]).all() for page in range(5)
    )
    with pytest.raises(LimnerError, match=r"x\.tif has 5 images; number 6"):
        read_image(tmp_path / "x.tif", page=5)


def test_a_stack_written_image_by_image_is_a_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for value in range(5):
            file.write(np.full((6, 9), value, np.uint8), contiguous=False)
    assert page_count(tmp_path / "x.tif") == 5
    assert (read_mask(tmp_path / "x.tif", page=3).values == 3).all()


def test_images_of_several_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for height in (6, 6, 8):
            file.write(np.zeros((height, 9), np.uint8), contiguous=False)
    with pytest.raises(LimnerError, match=r"x\.tif holds images of 2 sizes"):
        read_image(tmp_path / "x.tif")


def test_colours_of_a_ycbcr_tiff_are_those_that_a_viewer_shows(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 0, 0)).convert("YCbCr").save(tmp_path / "x.tif")
    assert np.abs(read_image(tmp_path / "x.tif")[0, 0].astype(int) - (200, 0, 0)).max() <= 3


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
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d))
        for kind, d in chunks
    )


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


def test_a_transparent_mask_is_empty_whatever_its_hidden_colour(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == 0).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64, np.uint32])
def test_deeper_pixels_are_spread_over_8_bits_in_their_order(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "x.tif", (DEEP / 2).astype(dtype), photometric="minisblack")
    grey = read_image(tmp_path / "x.tif")[..., 0].ravel().astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


def test_16_bit_png_keeps_its_depth_until_it_is_spread(tmp_path: Path) -> None:
    Image.fromarray(DEEP).save(tmp_path / "grey.png")
    assert (read_mask(tmp_path / "grey.png").values == DEEP).all()
    assert len(np.unique(read_image(tmp_path / "grey.png"))) > 40


def test_1_bit_masks_are_255_where_they_are_true(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "dark-on-light.tif", DEEP > 30_000, photometric="miniswhite")
    for name in ("light-on-dark.tif", "x.png"):
        Image.fromarray(DEEP > 30_000).save(tmp_path / name)
    for path in tmp_path.iterdir():
        assert (read_mask(path).values == (DEEP > 30_000) * 255).all()
    assert (read_image(tmp_path / "dark-on-light.tif")[..., 0] == (DEEP <= 30_000) * 255).all()


def test_a_mask_in_a_palette_keeps_its_indices_and_colours(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(54).reshape(6, 9) % 3).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert (mask.kind, mask.palette[:3]) == ("palette", (0, 0x800000, 0x008000))
    assert mask.values.max() == 2
    assert mask.to_colours().values[0, 1] == 0x800000


def test_a_mask_in_colours_is_one_number_for_each(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (128, 64, 32)).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert (mask.kind, mask.values[0, 0]) == ("colour", 0x804020)


def test_a_grey_rgb_mask_keeps_its_values(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (3, 3, 3)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == 3).all()


def test_a_mask_in_the_alpha_channel_is_found(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[1:3, 1:3, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == pixels[..., 3]).all()


def test_a_solid_alpha_is_dropped_and_a_transparent_pixel_is_0(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "solid.png")
    assert (read_mask(tmp_path / "solid.png").values == 255).all()
    pixels[0, 0] = (7, 7, 7, 0)
    pixels[1, 1, :3] = 9
    Image.fromarray(pixels).save(tmp_path / "holed.png")
    assert read_mask(tmp_path / "holed.png").values[:2, :2].tolist() == [[0, 255], [255, 9]]


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), -1.0),
        np.full((4, 4), 0.5),
        np.full((4, 4), np.nan),
        np.full((4, 4), 70_000.0),
    ],
)
def test_a_mask_of_numbers_that_are_no_classes_is_refused(
    tmp_path: Path, values: np.ndarray
) -> None:
    tifffile.imwrite(tmp_path / "m.tif", values.astype(np.float32))
    with pytest.raises(LimnerError, match=r"m\.tif has values from"):
        read_mask(tmp_path / "m.tif")


def save(path: Path) -> bytes:
    options = (
        {"quality": 95}
        if path.suffix == ".jpg"
        else {"lossless": True}
        if path.suffix == ".webp"
        else {}
    )
    Image.fromarray(smooth(64, 48) ^ RNG.integers(0, 32, (64, 48, 3)).astype(np.uint8)).save(
        path, **options
    )
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"x.{suffix}"
    content = save(path)
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(LimnerError, match=rf"x\.{suffix} "):
        read_image(path)


def test_mutated_files_crash_nothing_and_are_refused_where_they_end_early() -> None:
    """A small count of what benchmarks/mutate.py does by hand."""
    script = Path(__file__).parents[2] / "benchmarks" / "mutate.py"
    done = subprocess.run([sys.executable, str(script), "400"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "400 files, 0 crashes" in done.stdout


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"not an image", "unknown"),
        (b"<html>404</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"GIF89a\x01\x00\x01\x00", "GIF"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04zip", "zip"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x93NUMPY\x01", "NumPy"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(LimnerError, match=rf"x\.jpg.*{what}"):
        read_image(tmp_path / "x.jpg")


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "x.jpg", format="PNG")
    assert (read_image(tmp_path / "x.jpg") == PICTURE).all()


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(LimnerError, match=r"folder\.png"):
        read_image(tmp_path / "folder.png")


def png(width: int, height: int, bits: int, colour: int, pixels: bytes) -> bytes:
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


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


def test_tiles_far_larger_than_their_image_are_not_decoded(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((16, 16, 3), np.uint8),
        tile=(8192, 8192),
        compression="zlib",
        photometric="rgb",
    )
    with pytest.raises(LimnerError, match="its tiles have 8192x8192 pixels, more than all of it"):
        read_image(tmp_path / "a.tif")


def test_large_numbers_close_to_each_other_are_told_apart(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", (4_000_000_000 + np.arange(10_000).reshape(100, 100)).astype(np.uint32)
    )
    assert len(np.unique(read_image(tmp_path / "a.tif"))) == 256


def test_a_file_that_the_system_does_not_give_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(LimnerError, match=r"a\.png cannot be opened"):
        read_image(tmp_path / "a.png")


@given(st.booleans(), st.sets(st.integers(0, 3), min_size=1))
def test_a_mask_of_coloured_classes_comes_back_though_all_its_colours_are_grey(
    grey: bool, drawn: set[int]
) -> None:
    colours = (0, 0x808080, 0xFFFFFF, 0x404040) if grey else (0, 0x808080, 0x0000FF, 0x123456)
    labels = Labels.from_values("abcd", colours, coloured=True)
    index = np.array([sorted(drawn)], np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(encode_mask_png(labels.to_pixels(index)))
        assert (read_predicted_mask(path, labels) == index).all()


def bomb(width: int, height: int) -> bytes:
    """A grey PNG of zeros that is as small as deflate can make it."""
    pixels = zlib.compressobj(9)
    row = bytes(width + 1)
    body = b"".join(pixels.compress(row) for _ in range(min(height, 200))) + pixels.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux counts it")
def test_a_bomb_of_900_megapixels_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(30_000, 30_000))
    code = """
import resource, sys, time
from pathlib import Path
from limner.data.images import read_image
from limner.errors import LimnerError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
try:
    read_image(Path(sys.argv[1]))
except LimnerError as error:
    print(error)
print(time.perf_counter() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    message, measured = done.stdout.splitlines()
    seconds, megabytes = map(float, measured.split())
    assert "30000x30000" in message
    assert seconds < 0.05
    assert megabytes < 50


def test_no_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(bomb(0, 5))
    with pytest.raises(LimnerError, match=r"x\.png is damaged"):
        read_image(tmp_path / "x.png")
    assert MAX_PIXELS < 900_000_000


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(LimnerError, match="animation of 2 frames"):
        read_image(tmp_path / "x.webp")


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_channels_that_are_no_colours_are_read_as_they_are(tmp_path: Path, channels: int) -> None:
    pixels = RNG.integers(0, 255, (6, 9, channels)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), pixels)


@pytest.mark.parametrize("writer", ["imagej", "ome"])
def test_the_channels_of_a_microscope_are_those_of_one_image(tmp_path: Path, writer: str) -> None:
    planes = RNG.integers(0, 4000, (5, 6, 9)).astype(np.uint16)
    planes[3] *= 10
    for count in (3, 5):
        tifffile.imwrite(
            tmp_path / "x.tif", planes[5 - count :], **{writer: True}, metadata={"axes": "CYX"}
        )
        image = read_image(tmp_path / "x.tif")
        assert image.shape == (6, 9, count)
        assert page_count(tmp_path / "x.tif") == 1
        assert (
            image.reshape(-1, count).max(0).tolist() == [255] * count
            # Each channel fills its range
        )
    with pytest.raises(LimnerError, match=r"x\.tif holds 5 planes that it calls channels"):
        read_mask(tmp_path / "x.tif")


def test_a_fourth_band_is_kept_and_a_solid_alpha_is_not(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (6, 9, 4)).astype(np.uint8)
    for solid, channels in ((False, 4), (True, 3)):
        pixels[..., 3] = 255 if solid else pixels[..., 3]
        tifffile.imwrite(
            tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unspecified"]
        )
        assert read_image(tmp_path / "x.tif").shape == (6, 9, channels)


def test_a_stack_of_channels_is_as_many_images(tmp_path: Path) -> None:
    planes = RNG.integers(0, 255, (4, 2, 6, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    assert page_count(tmp_path / "x.tif") == 4
    np.testing.assert_array_equal(
        read_image(tmp_path / "x.tif", page=2), planes[2].transpose(1, 2, 0)
    )


def test_many_channels_are_resized_alike_and_shown_as_colours() -> None:
    pixels = RNG.integers(0, 255, (16, 24, 5)).astype(np.uint8)
    np.testing.assert_array_equal(
        resize_image(pixels, (8, 12))[..., :3], resize_image(pixels[..., :3].copy(), (8, 12))
    )
    assert to_rgb(pixels[..., :2]).shape == to_rgb(pixels).shape == (16, 24, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        DEEP,
        (DEEP >> 8).astype(np.uint8),
        DEEP > 30_000,
        (DEEP / 7).astype(np.float32),
        PICTURE,
        PICTURE.astype(np.uint16) * 9,
    ],
)
def test_an_array_is_taken_as_its_file_would_be(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack"
    )
    assert (to_image(pixels) == read_image(tmp_path / "x.tif")).all()


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4, 3)])
def test_an_array_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LimnerError, match="height, width"):
        to_image(np.zeros(shape, np.uint8))


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(LimnerError, match=r"x\.tif holds values that are no numbers"):
        read_image(tmp_path / "x.tif")


def dicom(path: Path, pixels: np.ndarray, **attributes: object) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def test_dicom_is_rescaled_and_windowed(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 1100, 1200, 3000]] * 4, np.uint16)
    path = dicom(
        tmp_path / "x.dcm",
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        WindowCenter=100.5,
        WindowWidth=201,
    )
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_dark_on_light_is_turned_over(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 2000]] * 4, np.int16)
    attributes = {"WindowCenter": 1000.5, "WindowWidth": 2001}
    light = read_image(dicom(tmp_path / "x.dcm", stored, **attributes))
    dark = read_image(
        dicom(tmp_path / "y.dcm", stored, PhotometricInterpretation="MONOCHROME1", **attributes)
    )
    assert dark[0, :, 0].tolist() == light[0, ::-1, 0].tolist() == [255, 128, 0]


def test_frames_of_dicom_are_pages(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4000, (3, 5, 7)).astype(np.uint16)
    path = dicom(tmp_path / "x.dcm", frames, NumberOfFrames=3)
    assert page_count(path) == 3
    assert (read_mask(path, page=2).values == frames[2]).all()


def test_dicom_without_its_extra_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dicom(tmp_path / "x.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(LimnerError, match=r"pip install 'limner\[dicom\]'"):
        read_image(path)


def test_a_png_with_trailing_bytes_is_whole(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, format="PNG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue() + b"\n")
    assert (read_image(tmp_path / "x.png") == PICTURE).all()


@pytest.mark.alone
def test_pages_without_pixels_are_not_followed(tmp_path: Path) -> None:
    """In a damaged TIFF they may lead from one to the next for hours."""
    # A width, and nothing else
    page = struct.pack("<HHHII", 1, 256, 4, 1, 16)
    chain = b"".join(page + struct.pack("<I", 8 + 18 * (number + 1)) for number in range(200_000))
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + chain)
    began = time.monotonic()
    with pytest.raises(LimnerError, match=r"a\.tif is damaged"):
        read_image(tmp_path / "a.tif")
    assert time.monotonic() - began < 2


@given(
    arrays(
        np.uint8,
        st.one_of(
            st.tuples(*[st.integers(1, 20)] * 2), st.tuples(*[st.integers(1, 20)] * 2, st.just(3))
        ),
    )
)
def test_a_written_mask_is_read_as_it_was_and_by_others_too(pixels: np.ndarray) -> None:
    content = encode_mask_png(pixels)
    with Image.open(io.BytesIO(content)) as read:
        read.load()
        assert read.format == "PNG" and (np.asarray(read) == pixels).all()
    colours = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    assert (decode_image(content, "the mask", 400) == colours).all()

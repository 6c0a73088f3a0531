import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicom_files import write_dicom
from limner.data.image_file import MAX_PIXELS
from limner.data.images import (
    exif_orientation,
    image_size,
    page_count,
    read_image,
    read_mask,
    read_predicted_mask,
)
from limner.data.readers.png import SIGNATURE, encode_chunk
from limner.data.writers.png import encode_mask_png
from limner.errors import LimnerError
from limner.labels import Labels

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 / height, x * 255 / width, 128 + 0 * y], axis=2).astype(np.uint8)


MODES_BY_SUFFIX = {
    "png": "RGB L RGBA P 1 LA",
    "bmp": "RGB L P 1",
    "webp": "RGB L RGBA P 1 LA",
    "tif": "RGB L RGBA P 1 CMYK LA",
    "jpg": "RGB L CMYK 1",
}


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(suffix, mode) for suffix, modes in MODES_BY_SUFFIX.items() for mode in modes.split()],
)
def test_every_mode_is_read_as_the_rgb_that_a_viewer_shows(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(
        suffix, {}
    )
    Image.fromarray(smooth(32, 40)).convert(mode).save(tmp_path / f"x.{suffix}", **options)
    with Image.open(tmp_path / f"x.{suffix}") as opened:
        expected = np.asarray(opened.convert("RGB"), np.int16)
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


def save_image(path: Path) -> bytes:
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
    content = save_image(path)
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(LimnerError, match=rf"x\.{suffix} "):
        read_image(path)


def test_mutated_files_crash_nothing_and_are_refused_where_they_end_early() -> None:
    """A small count of what benchmarks/mutate.py does by hand."""
    script = Path(__file__).parents[2] / "benchmarks" / "mutate.py"
    process = subprocess.run([sys.executable, str(script), "400"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
    assert "400 files, 0 crashes" in process.stdout


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"not an image", "a text"),
        (b"\0\1\2 no image", "a file of unknown content"),
        (b"<html>404</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
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
    Image.fromarray(IMAGE).save(tmp_path / "x.jpg", format="PNG")
    assert (read_image(tmp_path / "x.jpg") == IMAGE).all()


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(LimnerError, match=r"folder\.png"):
        read_image(tmp_path / "folder.png")


def test_a_file_that_the_system_does_not_give_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(LimnerError, match=r"a\.png cannot be opened"):
        read_image(tmp_path / "a.png")


@given(st.booleans(), st.sets(st.integers(0, 3), min_size=1))
def test_a_mask_of_coloured_classes_comes_back_though_all_its_colours_are_grey(
    grey: bool, present: set[int]
) -> None:
    colours = (0, 0x808080, 0xFFFFFF, 0x404040) if grey else (0, 0x808080, 0x0000FF, 0x123456)
    labels = Labels.from_values("abcd", colours, coloured=True)
    index = np.array([sorted(present)], np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(encode_mask_png(labels.to_pixels(index)))
        assert (read_predicted_mask(path, labels) == index).all()


def bomb(width: int, height: int) -> bytes:
    """A grey PNG of zeros that is as small as deflate can make it."""
    compressor = zlib.compressobj(9)
    row = bytes(width + 1)
    rows = b"".join(compressor.compress(row) for _ in range(min(height, 200)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        SIGNATURE
        + encode_chunk(b"IHDR", header)
        + encode_chunk(b"IDAT", rows + compressor.flush())
        + encode_chunk(b"IEND", b"")
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
def peak_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before_kb, start = peak_kb(), time.perf_counter()
try:
    read_image(Path(sys.argv[1]))
except LimnerError as error:
    print(error)
print(time.perf_counter() - start, (peak_kb() - before_kb) / 1024)
"""
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    message, measured = process.stdout.splitlines()
    seconds, megabytes = map(float, measured.split())
    assert "30000x30000" in message
    assert seconds < 0.05
    assert megabytes < 50


def test_no_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(bomb(0, 5))
    with pytest.raises(LimnerError, match=r"x\.png is damaged"):
        read_image(tmp_path / "x.png")
    assert MAX_PIXELS < 900_000_000


def write_large(path: Path) -> Path:
    """Write an upright image whose pixels are many times larger than its header."""
    pixels = RNG.integers(0, 256, (600, 500, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 1
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), compression="zlib")
    elif path.suffix == ".dcm":
        write_dicom(path, pixels[..., 0].astype(np.uint16))
    elif path.suffix == ".bmp":
        Image.fromarray(pixels).save(path)
    else:
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def bytes_read() -> int:
    """How many bytes this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="bytes are counted as Linux counts them")
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp", "dcm"])
@pytest.mark.parametrize("read", [image_size, exif_orientation, page_count])
def test_a_header_is_read_without_the_pixels(
    tmp_path: Path, suffix: str, read: Callable[[Path], object]
) -> None:
    path = write_large(tmp_path / f"x.{suffix}")
    assert path.stat().st_size > 100_000
    # The first call also imports what the format needs
    read(path)
    before = bytes_read()
    answer = read(path)
    assert bytes_read() - before < 20_000
    assert answer == {image_size: (600, 500), exif_orientation: 1, page_count: 1}[read]


@pytest.mark.skipif(sys.platform != "linux", reason="bytes are counted as Linux counts them")
def test_the_pages_of_a_stack_are_counted_without_their_pixels(tmp_path: Path) -> None:
    stack = RNG.integers(0, 256, (20, 100, 200)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    page_count(tmp_path / "x.tif")
    before = bytes_read()
    assert page_count(tmp_path / "x.tif") == 20
    assert bytes_read() - before < 50_000


def test_metadata_larger_than_64_kib_hides_no_header(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = RNG.bytes(150_000)
    for suffix in ("jpg", "png", "webp"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(IMAGE).save(path, exif=exif, icc_profile=profile)
        assert image_size(path) == (9, 6)

import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.images import (
    page_count,
    read_image,
    read_mask,
)
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


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
    tifffile.imwrite(tmp_path / "x.tif", IMAGE, photometric="rgb", **options)
    assert (read_image(tmp_path / "x.tif") == IMAGE).all()


def test_planes_that_lie_apart_are_joined(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", IMAGE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    assert (read_image(tmp_path / "x.tif") == IMAGE).all()


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


@pytest.mark.alone
def test_pages_without_pixels_are_not_followed(tmp_path: Path) -> None:
    """In a damaged TIFF they may lead from one to the next for hours."""
    # A width, and nothing else
    page = struct.pack("<HHHII", 1, 256, 4, 1, 16)
    chain = b"".join(page + struct.pack("<I", 8 + 18 * (number + 1)) for number in range(200_000))
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + chain)
    start = time.monotonic()
    with pytest.raises(LimnerError, match=r"a\.tif is damaged"):
        read_image(tmp_path / "a.tif")
    assert time.monotonic() - start < 2
